"""The demo's team: five signers with throwaway keys, an app that three of them control, and its releases."""

from __future__ import annotations

import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from pearrt.app.drafting import Terms, draft_release
from pearrt.app.progress import silent
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.crypto import keyfile
from pearrt.crypto.keyfile import Argon2Cost, PublicKey
from pearrt.demo.office import Machine
from pearrt.errors import PearrtError
from pearrt.link import Link
from pearrt.publish.app import APP_ID_BYTES, new_app
from pearrt.publish.draft import Draft, Signature, sign
from pearrt.publish.keys import new_key
from pearrt.publish.publication import Publication, new_heartbeat

SIGNERS = ("alice", "bob", "carol", "dana", "erin")
THRESHOLD = 3
PASSWORD = "for the demo only"  # noqa: S105 - the keys live as long as the demo
CHEAP = Argon2Cost(ops=1, memory_bytes=8 << 20)  # real key files take a second each; these live for a minute
PICTURES_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Team:
    """Five key files, and the machine that publishes and seeds."""

    keys: tuple[Path, ...]
    public: tuple[PublicKey, ...]
    seeder: Machine
    publication: Path
    link: Link

    def release(self, version: str, app: Path, work: Path, signers: int = THRESHOLD) -> str:
        """Stages `app`, has `signers` of the five sign, publishes; gives the digest. Raises
        ThresholdNotMet."""
        digest = self._stage(version, app, work)
        self.publish(digest, signers)
        return digest

    def publish(self, digest: str, signers: int = THRESHOLD) -> None:
        """Has `signers` of the five sign what was staged, and publishes it. Raises ThresholdNotMet."""
        publication, now = Publication.open(self.publication), time.time()
        draft = draft_release(publication.trusted, self.seeder.home, [digest], Terms(), now)
        publication.commit(draft, _signed(draft, _seeds(self.keys[:signers])), now)
        self.seeder.daemon.publish(self.link)

    def _stage(self, version: str, app: Path, work: Path) -> str:
        """A copy of the app with its version and 16 MiB of pictures, which no compressor can shrink."""
        tree = work / f"guestbook-{version}"
        shutil.copytree(app, tree, ignore=shutil.ignore_patterns("__pycache__", "*.toml"))
        (tree / "VERSION").write_text(version + "\n")
        (tree / "pictures.bin").write_bytes(secrets.token_bytes(PICTURES_BYTES))
        manifest = Manifest(name="guestbook", version=version, entry=Entry.parse("guestbook.main:main"))
        return str(self.seeder.daemon.stage(tree, manifest.encode(), silent)["digest"])


def found(seeder: Machine) -> Team:
    """Makes the five keys, and the app that three of them control."""
    folder = seeder.home.keys
    public = tuple(new_key(folder, name, PASSWORD, cost=CHEAP) for name in SIGNERS)
    keys = tuple(folder / f"{name}.key" for name in SIGNERS)
    return new_team(seeder, keys, public)


def new_team(seeder: Machine, keys: tuple[Path, ...], public: tuple[PublicKey, ...]) -> Team:
    """Another app of the same five."""
    heartbeat, now = new_heartbeat(), time.time()
    app = new_app(
        public,
        THRESHOLD,
        heartbeat=heartbeat.public,
        app_id=secrets.token_bytes(APP_ID_BYTES),
        now=now,
    )
    seeds = _seeds(keys[:THRESHOLD])
    made = Publication.create(
        seeder.home.publishing, app, _signed(app.root, seeds), _signed(app.targets, seeds), heartbeat, now
    )
    return Team(keys, public, seeder, made.folder, Link(app.app_key))


def _seeds(keys: tuple[Path, ...]) -> list[bytes]:
    return [keyfile.unlock(path, PASSWORD) for path in keys]


def _signed(draft: Draft, seeds: list[bytes]) -> list[Signature]:
    return [sign(draft, seed) for seed in seeds]


def example() -> Path:
    """The guestbook: in the installed package, or in the source tree beside it. Raises PearrtError."""
    here = Path(__file__).parent
    for folder in (here / "apps" / "guestbook", here.parent.parent / "examples" / "guestbook"):
        if folder.is_dir():
            return folder
    raise PearrtError("The demo's app is missing from this installation.", hint="Install pearrt again.")

"""A team of five signers whose seeds are at hand, and an app of theirs in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pearrt.crypto import ed25519
from pearrt.crypto.hashes import sha256
from pearrt.crypto.keyfile import PublicKey
from pearrt.publish.app import NewApp, new_app
from pearrt.publish.draft import Draft, Signature, combine, sign
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.publication import Publication
from pearrt.publish.release import Variant, make_releases
from pearrt.publish.rotation import Rotation
from pearrt.trust.app import TrustedApp

NOW = 1_900_000_000.0
DAY = 86400.0
NAMES = ("ada", "bob", "cyd", "dan", "eve")


def seed_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def public_of(name: str) -> PublicKey:
    return PublicKey(ed25519.public_key(seed_of(name)), name)


def signed(draft: Draft, *names: str) -> list[Signature]:
    return [sign(draft, seed_of(name)) for name in names]


@dataclass(frozen=True, slots=True)
class Team:
    """3 of 5, and one heartbeat."""

    heartbeat: Heartbeat

    def new_app(self, *, app_id: bytes = bytes(16), threshold: int = 3) -> NewApp:
        heartbeat = self.heartbeat.public
        signers = [public_of(name) for name in NAMES]
        return new_app(signers, threshold, heartbeat=heartbeat, app_id=app_id, now=NOW)

    def publication(self, folder: Path) -> Publication:
        new = self.new_app()
        root, targets = signed(new.root, "ada", "bob", "cyd"), signed(new.targets, "cyd", "dan", "eve")
        return Publication.create(folder, new, root, targets, self.heartbeat, NOW)


def draft_of(
    trusted: TrustedApp,
    version: str,
    now: float = NOW,
    *,
    name: str = "Ledger",
    platform: str = "any",
    index_size: int = 100,
    **fields: Any,
) -> Draft:
    """A release of an index that doesn't exist."""
    digest = sha256(version.encode())
    variant = Variant(platform, digest, index_size, (digest,))
    return make_releases(trusted, [variant], name=name, version=version, now=now, **fields)


def commit_rotation(
    publication: Publication,
    rotation: Rotation,
    root_signatures: Iterable[Signature],
    targets_signatures: Iterable[Signature],
    now: float = NOW,
    *,
    heartbeat: Heartbeat | None = None,
) -> Publication:
    """The app in the hands of the rotation's signers, and of its heartbeat where that is another."""
    blobs = {
        "root": combine(rotation.root, root_signatures),
        "targets": combine(rotation.targets, targets_signatures),
    }
    return publication.commit_signed([rotation.root, rotation.targets], blobs, now, heartbeat=heartbeat)


@pytest.fixture
def team() -> Team:
    return Team(Heartbeat(seed_of("heartbeat")))


@pytest.fixture
def publication(team: Team, tmp_path: Path) -> Publication:
    return team.publication(tmp_path / "publishing")

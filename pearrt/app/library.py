"""The apps of one machine on disk.

    apps/<55-letter key>/trust.benc        the metadata that is trusted; replaced whole, never goes back
                         installed.json    the release that `run` starts; written last: names only whole trees
                         previous.json     the release before it, kept
                         grant.json        the permissions that the person approved
                         news.json         what changed since the app was last started
                         app.log           what the app wrote to its own log
                         skipped           the release that the person stepped back from
                         wish.json         the link's hints; whether to seed without end
                         equivocation.benc two contradicting signed statements, kept as proof
                         confirmed.json    who showed that the trusted metadata is current; only informs
                         releases/<index digest>/   unpacked trees
                         bytecode/<index digest>/   their compiled modules; only saves time
                         data/             the app's private storage, kept by updates
                         shelf/            blocks that it keeps for itself elsewhere too: `shelf.py`

Every file is replaced atomically; a tree appears by rename. A kill at any moment leaves the old state or the
new.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pearrt.app.record import Grant, Installed, News, Wish, dump, load
from pearrt.app.removal import remove_tree
from pearrt.atomic import read_file, store_error, write_file
from pearrt.codec import bencode
from pearrt.errors import BadLink, Corrupt, NoSuchApp, RemoteError
from pearrt.link import decode_key, encode_key
from pearrt.trust.contradiction import Contradiction

T = TypeVar("T")

_FORGOTTEN = (
    "grant.json",
    "news.json",
    "app.log",
    "app.log.1",
    "wish.json",
    "equivocation.benc",
    "confirmed.json",
    "trust.benc",
)


class AppFolder:
    """One app's files. Reading what is absent gives None; reading what is damaged raises Corrupt."""

    def __init__(self, root: Path, app_key: bytes) -> None:
        self.app_key = app_key
        self.root = root / encode_key(app_key)
        self.releases = self.root / "releases"
        self.data = self.root / "data"
        self.shelf = self.root / "shelf"
        self._bytecode = self.root / "bytecode"

    def create(self) -> None:
        for folder in (self.root, self.releases, self.data):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def known(self) -> bool:
        """Whether anything of this app was ever trusted here."""
        return (self.root / "trust.benc").exists()

    @property
    def trust(self) -> bytes | None:
        return self._read("trust.benc")

    @trust.setter
    def trust(self, state: bytes) -> None:
        self._write("trust.benc", state)

    @property
    def installed(self) -> Installed | None:
        return self._load(Installed, "installed.json")

    @property
    def previous(self) -> Installed | None:
        return self._load(Installed, "previous.json")

    @property
    def skipped(self) -> str:
        """Index digest of the release that the person stepped back from; "" where there is none."""
        return (self._read("skipped") or b"").decode("ascii", "replace").strip()

    @skipped.setter
    def skipped(self, index_digest: str) -> None:
        self._write("skipped", index_digest.encode() + b"\n")

    @property
    def confirmed(self) -> bytes | None:
        """Who showed the trusted timestamp, as `freshness.Confirmations` writes it."""
        return self._read("confirmed.json")

    @confirmed.setter
    def confirmed(self, data: bytes) -> None:
        self._write("confirmed.json", data)

    @property
    def equivocation(self) -> Contradiction | None:
        """The first pair of signed statements that were found to contradict each other."""
        data = self._read("equivocation.benc")
        if data is None:
            return None
        try:
            match bencode.decode(data, max_depth=1):
                case [bytes() as first, bytes() as second]:  # as they were kept before there were logs
                    return Contradiction(first, second)
            return Contradiction.decode(data)
        except RemoteError as e:
            raise Corrupt(f"{self.root / 'equivocation.benc'} is damaged.") from e

    def keep_equivocation(self, found: Contradiction) -> bool:
        """Keeps the proof, unless there is one: one is enough, and a peer may not write here without end.
        Whether it was the first."""
        if (self.root / "equivocation.benc").exists():
            return False
        self.create()
        self._write("equivocation.benc", found.encode())
        return True

    def switch(self, release: Installed) -> None:
        """Makes `release`, whose tree is whole, the one that `run` starts; keeps the one before it."""
        current = self.installed
        if current is not None and current.index_digest != release.index_digest:
            self._write("previous.json", dump(current))
        self._write("installed.json", dump(release))

    def step_back(self) -> None:
        """Makes the previous release, if there is one, the one that `run` starts again."""
        previous = self.previous
        if previous is not None:
            self._write("installed.json", dump(previous))
            (self.root / "previous.json").unlink()
        else:
            (self.root / "installed.json").unlink()

    @property
    def grant(self) -> Grant | None:
        return self._load(Grant, "grant.json")

    @grant.setter
    def grant(self, grant: Grant) -> None:
        self._write("grant.json", dump(grant))

    def forget_grant(self) -> None:
        """Takes the whole approval back."""
        self._forget("grant.json")

    @property
    def news(self) -> News | None:
        return self._load(News, "news.json")

    @news.setter
    def news(self, news: News | None) -> None:
        if news is None:
            self._forget("news.json")
        else:
            self._write("news.json", dump(news))

    @property
    def log(self) -> Path:
        """The app's own log; beside it, `app.log.1`, what was there before."""
        return self.root / "app.log"

    @property
    def wish(self) -> Wish | None:
        return self._load(Wish, "wish.json")

    @wish.setter
    def wish(self, wish: Wish) -> None:
        self._write("wish.json", dump(wish))

    def tree(self, index_digest: str) -> Path:
        """Where the release with this index is, or will be, unpacked."""
        return self.releases / index_digest

    def bytecode(self, index_digest: str) -> Path:
        """Where the compiled modules of this release are, or will be: the release itself is never written
        to."""
        return self._bytecode / index_digest

    def prune(self, keep: set[str]) -> None:
        """Removes what belongs to releases whose index digest is not in `keep`, and leftovers of unfinished
        ones."""
        for folder in (self.releases, self._bytecode):
            for tree in folder.iterdir() if folder.exists() else ():
                if tree.name not in keep:
                    self._drop(tree)

    def drop_tree(self, index_digest: str) -> None:
        """Removes the unpacked release with this index."""
        if self.tree(index_digest).exists():
            self._drop(self.tree(index_digest))

    @staticmethod
    def _drop(tree: Path) -> None:
        """Out of its place in one step, so that a kill leaves no half of a release under its name."""
        leaving = tree if tree.name.startswith(".") else tree.with_name(f".{tree.name}.gone")
        if leaving != tree:
            remove_tree(leaving)
            tree.rename(leaving)
        remove_tree(leaving)

    def remove(self, *, keep_data: bool) -> None:
        """Forgets the app. The record goes first, so that a kill in between leaves it uninstalled, not
        broken. Raises StoreError, where it runs still and fills its folder, say."""
        try:
            for name in ("installed.json", "previous.json"):
                self._forget(name)
            for folder in (self.releases, self._bytecode) if keep_data else (self.root,):
                remove_tree(folder)
            for name in _FORGOTTEN if keep_data else ():
                self._forget(name)
        except OSError as e:
            raise store_error(e, f"Cannot remove {self.root}") from e

    def _read(self, name: str) -> bytes | None:
        try:
            return read_file(self.root / name)
        except FileNotFoundError:
            return None

    def _load(self, kind: type[T], name: str) -> T | None:
        data = self._read(name)
        return None if data is None else load(kind, data, str(self.root / name))

    def _forget(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.root / name).unlink()

    def _write(self, name: str, data: bytes) -> None:
        write_file(self.root / name, data)


class Library:
    """All apps under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, app_key: bytes) -> AppFolder:
        """The app's folder, which need not exist yet."""
        return AppFolder(self.root, app_key)

    def known(self, app_key: bytes) -> AppFolder:
        """The folder of an app that is known here. Raises NoSuchApp."""
        folder = self.folder(app_key)
        if not folder.known:
            raise NoSuchApp(f"{encode_key(app_key)} is not on this machine.")
        return folder

    def __iter__(self) -> Iterator[AppFolder]:
        if not self.root.exists():
            return
        for entry in sorted(self.root.iterdir()):
            with contextlib.suppress(BadLink):
                folder = self.folder(decode_key(entry.name))
                if folder.known:
                    yield folder

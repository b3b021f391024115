"""What a request would change, told from its signed bytes and from nothing that anyone says about them.

Releases are compared by `<channel>/<platform>` with the metadata that the request follows, signers and
thresholds with the root before it, files with the index of the release before. Requests and indexes in,
values out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pearrt.bundle.index import File, Index
from pearrt.publish.draft import display_name
from pearrt.publish.request import Request
from pearrt.trust.authority import Authority
from pearrt.trust.metadata import Root
from pearrt.trust.release import Release
from pearrt.trust.revocation import Revocation


@dataclass(frozen=True, slots=True)
class ReleaseChange:
    """One channel and platform: `before` None for a new one, `after` None for one that is withdrawn."""

    path: str
    before: Release | None
    after: Release | None

    @property
    def bundle(self) -> Release | None:
        """The release whose bundle is to be looked at, where it is another one than before."""
        before, after = self.before, self.after
        changed = after is not None and (before is None or before.index_digest != after.index_digest)
        return after if changed else None


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """Names of signers that come and go; `(old, new)` thresholds. Empty and 0 before for a new app."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    threshold: tuple[int, int]
    heartbeat_changed: bool
    witnesses: tuple[Authority | None, Authority | None]  # (old, new)
    uneven: bool  # root and targets are not signed by the same people: pearrt drafts no such root


class FileFate(Enum):
    """What happens to a file."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class FileChange:
    """Sizes in bytes; None where the file is not there. `executable` is of the new one."""

    path: str
    fate: FileFate
    old_size: int | None
    new_size: int | None
    executable: bool


def release_changes(request: Request) -> tuple[ReleaseChange, ...]:
    """Every channel and platform whose release is another than before, by path."""
    base = () if request.base is None else request.base.releases
    before = {release.path: release for release in base}
    after = {release.path: release for release in request.releases}
    return tuple(
        ReleaseChange(path, before.get(path), after.get(path))
        for path in sorted(before.keys() | after.keys())
        if _what(before.get(path)) != _what(after.get(path))
    )


def new_revocations(request: Request) -> tuple[Revocation, ...]:
    """Revocations that are new, or say something else than before."""
    known = () if request.base is None else request.base.targets.revocations
    return tuple(each for each in request.targets.revocations if each not in known)


def lifted_revocations(request: Request) -> tuple[Revocation, ...]:
    """Revocations that the request takes back."""
    known = () if request.base is None else request.base.targets.revocations
    still = {each.index_digest for each in request.targets.revocations}
    return tuple(each for each in known if each.index_digest not in still)


def key_changes(request: Request) -> KeyChanges | None:
    """What becomes of the app's signers; None where the request has no root."""
    root = request.root
    if root is None:
        return None
    old = None if request.base is None else request.base.root
    before, after = _team(old), _team(root)
    return KeyChanges(
        added=_names(after, after.signers.keys() - before.signers.keys()),
        removed=_names(before, before.signers.keys() - after.signers.keys()),
        kept=_names(after, after.signers.keys() & before.signers.keys()),
        threshold=(before.threshold, after.threshold),
        heartbeat_changed=old is None
        or old.authorities["timestamp"].signers.keys() != root.authorities["timestamp"].signers.keys(),
        witnesses=(old.witnesses if old else None, root.witnesses),
        uneven=root.authorities["root"] != root.authorities["targets"]
        or root.authorities["snapshot"] != root.authorities["timestamp"],
    )


def witness_changes(keys: KeyChanges) -> tuple[str, ...]:
    """Lines on who has to see releases from now on; none where that stays."""
    old, new = keys.witnesses
    if old == new:
        return ()
    if new is None:
        return ("nobody has to see releases any more: stolen keys could release to one person alone",)
    names = ", ".join(display_name(witness) for witness in new.signers.values())
    return (f"{new.threshold} of {len(new.signers)} have to see every release: {names}",)


def channel_changes(request: Request) -> tuple[str, ...]:
    """Lines on channels that are given to signers of their own, handed over or taken back."""
    before = {} if request.base is None else {each.name: each for each in request.base.targets.delegations}
    after = {each.name: each for each in request.targets.delegations}
    lines = [f"{name} is signed by the app's signers again" for name in before if name not in after]
    for name, delegation in after.items():
        if name not in before or before[name].authority != delegation.authority:
            team = delegation.authority
            names = ", ".join(display_name(signer) for signer in team.signers.values())
            lines.append(f"{name} is signed by {team.threshold} of {len(team.signers)}: {names}")
    return tuple(lines)


def file_changes(old: Index | None, new: Index) -> tuple[FileChange, ...]:
    """Files added, changed and removed, by path."""
    before = {} if old is None else {file.path: file for file in old.files}
    after = {file.path: file for file in new.files}
    return tuple(
        _fate(path, before.get(path), after.get(path))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    )


def kind_of(request: Request) -> str:
    """One word for lists: `app`, `root`, `release`, `channel`, `revoke`, or `other`: nothing but a date."""
    if request.base is None:
        return "app"
    if request.root is not None:
        return "root"
    if release_changes(request):
        return "release"
    if channel_changes(request):
        return "channel"
    return "revoke" if new_revocations(request) or lifted_revocations(request) else "other"


def _fate(path: str, before: File | None, after: File | None) -> FileChange:
    if after is None:
        assert before is not None
        return FileChange(path, FileFate.REMOVED, before.size, None, False)
    fate = FileFate.ADDED if before is None else FileFate.CHANGED
    return FileChange(path, fate, None if before is None else before.size, after.size, after.executable)


def _what(release: Release | None) -> object:
    """All of a release but its sequence, which every new version of the metadata moves."""
    return None if release is None else release.as_target()


def _team(root: Root | None) -> Authority:
    return Authority({}, 0) if root is None else root.authorities["root"]


def _names(authority: Authority, keyids: set[str]) -> tuple[str, ...]:
    return tuple(display_name(signer) for keyid, signer in authority.signers.items() if keyid in keyids)

"""python-tuf's verifier as the oracle: what its client would do with a metadata set, offline.

The order of steps is that of `tuf.ngclient.Updater`: roots, local then offered timestamp, snapshot, targets.
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from datetime import UTC, datetime

from securesystemslib.signer import _key as sslib_key
from tuf.api.exceptions import RepositoryError
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from pearrt.trust.metadata_set import MetadataSet


def memoize_ed25519() -> None:
    """The oracle's pure-Python Ed25519 is slow, and most signatures recur: remember verdicts, change none."""
    if not hasattr(sslib_key.checkvalid, "cache_info"):
        sslib_key.checkvalid = functools.lru_cache(maxsize=None)(sslib_key.checkvalid)


def _start(metadata: MetadataSet, now: float) -> TrustedMetadataSet:
    memoize_ed25519()
    trusted = TrustedMetadataSet(metadata.roots[0], EnvelopeType.METADATA)
    trusted.reference_time = datetime.fromtimestamp(now, UTC)
    for root in metadata.roots[1:]:
        trusted.update_root(root)
    return trusted


def accepts(metadata: MetadataSet, now: float) -> bool:
    """Whether a client that trusts the first root of the set takes all of it."""
    try:
        trusted = _start(metadata, now)
        trusted.update_timestamp(metadata.timestamp)
        trusted.update_snapshot(metadata.snapshot)
        trusted.update_targets(metadata.targets)
        _update_channels(trusted, metadata)
    except (RepositoryError, ValueError, KeyError):
        return False
    return True


def _update_channels(trusted: TrustedMetadataSet, metadata: MetadataSet) -> None:
    """Loads every delegated role, as a client does that looks for a target in each. Raises KeyError where the
    set lacks one."""
    for name in _delegated(trusted):
        if trusted.get(name) is None:
            trusted.update_delegated_targets(metadata.delegated[name], name, "targets")


def _delegated(trusted: TrustedMetadataSet) -> list[str]:
    delegations = trusted.targets.delegations
    return list(delegations.roles) if delegations and delegations.roles else []


def found_index(metadata: MetadataSet, now: float, path: str) -> str | None:
    """The SHA-256 of the target that a client finds under `path` of an accepted set, as in TUF 5.6.7."""
    trusted = _loaded(metadata, now)
    to_visit, seen = ["targets"], set()
    while to_visit:
        name = to_visit.pop()
        if name in seen:
            continue
        seen.add(name)
        role = trusted[name]
        if path in role.targets:
            return role.targets[path].hashes["sha256"]
        children = []
        for child, terminating in role.delegations.get_roles_for_target(path) if role.delegations else ():
            children.append(child)
            if terminating:
                to_visit = []
                break
        to_visit += reversed(children)
    return None


def accepts_update(old: MetadataSet, new: MetadataSet, now: float) -> bool:
    """Whether a client that has `old` would hold exactly `new` after seeing it. Both begin with root 1."""
    shared = min(len(old.roots), len(new.roots))
    if any(_signed(old.roots[at]) != _signed(new.roots[at]) for at in range(shared)):
        return False
    new = replace(new, roots=old.roots + new.roots[shared:])  # a client fetches no root that it has
    try:
        trusted = _start(new, now)
        _ignoring(trusted.update_timestamp, old.timestamp)
        _ignoring(trusted.update_timestamp, new.timestamp, only_equal=True)
        _ignoring(functools.partial(trusted.update_snapshot, trusted=True), old.snapshot)
        if (
            trusted.get("snapshot") is None
            or trusted.snapshot.version != trusted.timestamp.snapshot_meta.version
        ):
            trusted.update_snapshot(new.snapshot)
        _ignoring(trusted.update_targets, old.targets)
        if trusted.get("targets") is None:
            trusted.update_targets(new.targets)
        for name in _delegated(trusted):
            if name in old.delegated:
                load = functools.partial(
                    trusted.update_delegated_targets, role_name=name, delegator_name="targets"
                )
                _ignoring(load, old.delegated[name])
        _update_channels(trusted, new)
    except (RepositoryError, ValueError, RuntimeError, KeyError):
        return False
    return accepts(new, now) and _versions(trusted) == _versions(_loaded(new, now))


def _signed(root: bytes) -> object:
    return json.loads(root)["signed"]


def _loaded(metadata: MetadataSet, now: float) -> TrustedMetadataSet:
    trusted = _start(metadata, now)
    trusted.update_timestamp(metadata.timestamp)
    trusted.update_snapshot(metadata.snapshot)
    trusted.update_targets(metadata.targets)
    _update_channels(trusted, metadata)
    return trusted


def _versions(trusted: TrustedMetadataSet) -> list[dict[str, object]]:
    roles = ("root", "timestamp", "snapshot", "targets", *_delegated(trusted))
    return [trusted[role].to_dict() for role in roles]


def _ignoring(step: object, raw: bytes, *, only_equal: bool = False) -> None:
    from tuf.api.exceptions import EqualVersionNumberError

    try:
        step(raw)  # type: ignore[operator]
    except EqualVersionNumberError:
        pass
    except (RepositoryError, ValueError, RuntimeError):
        if only_equal:
            raise

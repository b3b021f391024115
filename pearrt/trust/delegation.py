"""Delegations: whom the targets role lets speak for some paths (TUF 1.0.34, section 4.5).

In this profile a delegated role is a channel with signers of its own. It is called like the channel, signs
for exactly the paths `<channel>/*` and nobody else does, and delegates nothing further. `x-pearrt-since` is
the version with which it began, so that only the app's signers can let its history begin anew.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pearrt.crypto.hashes import sha256
from pearrt.trust.authority import Authority, key_fields, read_authority, read_signers
from pearrt.trust.envelope import ROLES
from pearrt.trust.profile import PEARRT, Profile
from pearrt.trust.shape import Shape

MAX_CHANNELS = 8
MAX_DELEGATIONS = 1024
MAX_PATHS = 4096

CHANNEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_PATH = re.compile(r"[^\x00]{0,4096}", re.DOTALL)
_HASH_PREFIX = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True)
class Delegation:
    """`name` speaks for the target paths that `paths` or `hash_prefixes` match; after a terminating one
    nobody else is asked. `since`: the first version of a channel's metadata in this life of it."""

    name: str
    authority: Authority
    paths: tuple[str, ...]
    hash_prefixes: tuple[str, ...] = ()
    terminating: bool = True
    since: int = 0

    def covers(self, path: str) -> bool:
        """Whether `path` is delegated: shell patterns that do not cross a slash, or the start of its hash."""
        parts = path.split("/")
        for pattern in self.paths:
            patterns = pattern.split("/")
            if len(patterns) == len(parts) and all(map(fnmatch.fnmatchcase, parts, patterns)):
                return True
        digest = sha256(path.encode()).hex()
        return any(digest.startswith(prefix) for prefix in self.hash_prefixes)


def is_channel(name: str) -> bool:
    """Whether a role may be delegated under this name."""
    return CHANNEL.fullmatch(name) is not None and name not in ROLES


def read_delegations(targets: Shape, profile: Profile = PEARRT) -> tuple[Delegation, ...]:
    """The field `delegations` of targets metadata, in order; () where absent. Raises ProtocolViolation."""
    if "delegations" not in targets.value:
        return ()
    shape = targets.object("delegations")
    if profile.strict:
        shape.only("keys", "roles")
    if not profile.strict and "succinct_roles" in shape.value:
        return ()  # hash bins (TAP 15) are no list of roles: whoever knows them reads them by themselves
    signers = read_signers(shape, profile)
    most = MAX_CHANNELS if profile.strict else MAX_DELEGATIONS
    roles = shape.value.get("roles")
    if not isinstance(roles, list) or not len(roles) <= most:
        raise shape.refuse("roles", f"are no list of at most {most}")
    read = _channel if profile.strict else _plain
    found = tuple(read(Shape(role, f"{shape.name}: `roles`"), signers, profile) for role in roles)
    if len({delegation.name for delegation in found}) != len(found):
        raise shape.refuse("roles", "name a role twice")
    if profile.strict and not found:
        raise shape.refuse("roles", "are none")
    return found


def delegation_fields(delegations: Iterable[Delegation]) -> dict[str, Any]:
    """What `read_delegations` reads of channels."""
    keys: dict[str, Any] = {}
    roles = []
    for each in delegations:
        keys |= {keyid: key_fields(signer) for keyid, signer in each.authority.signers.items()}
        role = {"name": each.name, "keyids": list(each.authority.signers), "paths": list(each.paths)}
        rest = {"threshold": each.authority.threshold, "terminating": True, "x-pearrt-since": each.since}
        roles.append(role | rest)
    return {"keys": keys, "roles": roles}


def _channel(role: Shape, signers: Any, profile: Profile) -> Delegation:
    role.only("name", "keyids", "threshold", "terminating", "paths", "x-pearrt-since")
    name = role.match("name", CHANNEL)
    if not is_channel(name):
        raise role.refuse("name", "is that of a top-level role")
    paths = role.strings("paths", _PATH, 1)
    if paths != (f"{name}/*",):
        raise role.refuse("paths", f"are not exactly {name}/*")
    if role.value["terminating"] is not True:
        raise role.refuse("terminating", "is not true")
    since = role.integer("x-pearrt-since", 1)
    return Delegation(name, read_authority(role, signers, profile), paths, since=since)


def _plain(role: Shape, signers: Any, profile: Profile) -> Delegation:
    name, terminating = role.match("name", _PATH), role.value.get("terminating")
    if not name or name in ROLES:
        raise role.refuse("name", "is empty or that of a top-level role")
    if type(terminating) is not bool:
        raise role.refuse("terminating", "is no bool")
    if ("paths" in role.value) == ("path_hash_prefixes" in role.value):
        raise role.refuse("paths", "or `path_hash_prefixes` must be there, and not both")
    paths = role.strings("paths", _PATH, MAX_PATHS) if "paths" in role.value else ()
    prefixes: tuple[str, ...] = ()
    if "path_hash_prefixes" in role.value:
        prefixes = role.strings("path_hash_prefixes", _HASH_PREFIX, MAX_PATHS)
    return Delegation(name, read_authority(role, signers, profile), paths, prefixes, terminating)

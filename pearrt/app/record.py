"""What a machine remembers of one app, as plain values: the installed release, the person's approval, the
wish to seed.

Each is one small JSON file; reading is strict, so that a damaged file is an error and never half a state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pearrt.errors import Corrupt

if TYPE_CHECKING:
    from pearrt.trust.release import Release

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Installed:
    """One unpacked release. Its folder is `releases/<index digest>`; digests are hex, times Unix seconds."""

    version: str
    sequence: int
    index_digest: str
    index_blocks: list[str]
    name: str
    installed_at: int
    boot: str = ""  # the boot in which it was unpacked, while it is not durable yet

    @classmethod
    def of(cls, release: Release, name: str, now: float, *, boot: str = "") -> Installed:
        """The record of a release whose tree was unpacked at `now`."""
        return cls(
            version=release.version,
            sequence=release.sequence,
            index_digest=release.index_digest.hex(),
            index_blocks=[block_id.hex() for block_id in release.index_blocks],
            name=name,
            installed_at=int(now),
            boot=boot,
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """The permissions that the person approved, as the manifest had them, and when.

    `digest` is of the normalised request as it was approved, in hex; `refused` names what of it the person
    refused or took back; `declined` is the digest of a wider request that they said no to. `kind` is the
    app's.
    """

    permissions: dict[str, Any]
    approved_at: int
    digest: str = ""
    refused: list[str] = field(default_factory=list)
    declined: str = ""
    kind: str = "python"


@dataclass(frozen=True, slots=True)
class News:
    """What changed since the person last started the app.

    `old` ran last, with the index `old_digest` (hex). `changed`, `added`, `removed` count files; `changed` is
    -1 where that is not known.
    """

    old: str
    old_digest: str
    new: str
    notes: str = ""
    security: bool = False
    changed: int = -1
    added: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What this machine is asked to do for the app beyond having it: seed without end; its link with the
    hints in it."""

    link: str
    seed: bool = False


def dump(value: Installed | Grant | News | Wish) -> bytes:
    """The file that holds `value`."""
    return json.dumps(asdict(value), sort_keys=True, indent=1).encode() + b"\n"


def load(kind: Callable[..., T], data: bytes, what: str) -> T:
    """The value that `dump` wrote. A field that only a later version knows is left aside, so that one can
    step back from that. Raises Corrupt, naming `what`, for anything else."""
    try:
        fields = json.loads(data)
        if not isinstance(fields, Mapping):
            raise TypeError("not an object")
        known = getattr(kind, "__dataclass_fields__", fields)
        return kind(**{name: value for name, value in fields.items() if name in known})
    except (ValueError, TypeError) as e:
        raise Corrupt(
            f"{what} is damaged: {e}.", hint="`pearrt uninstall` the app, then run it again."
        ) from e

"""Permissions: what an app asks for, and so what a person is asked to approve.

An app starts with nothing but its own read-only files, its private storage and the terminal it was started
from. Each key of the manifest's `permissions` table asks for one thing more, or for a larger share of a
bounded one:

    key             value                        default
    storage         size                         1 GiB    what `/data` may hold; with more the app is stopped
    memory          size                         2 GiB    in total with a cgroup, else per process
    cpu             number of processors         4
    processes       processes and threads        256
    net.hosts       ["host:port", …]             none     exact public hosts, through the daemon's proxy
    notify          true                         false    notifications on the person's desktop
    ui              true                         false    a page of its own, opened in the browser
    files           true                         false    files that the person picks, one by one
    clipboard       true                         false    to write the clipboard, to read it by a yes
    background      true                         false    to go on after its terminal was closed
    run.native      true                         false    to be a native program: kind `exec`

    p2p             ["join", "store"]            none     messages to the same app on other machines; blocks
                                                          of its own, kept on several of them

Rules: an unknown key or value is an error, never ignored; the value kept is normalised, so that one request
has one digest. A version that changes what a permission gives changes DIGEST_TAG, so that an approval from
before does not cover it. The shares (storage, memory, cpu, processes) come with the approval; everything else
is OPTIONAL: the person can refuse or revoke it alone, by its key or, of `net.hosts`, by one `host:port`.

Pure: tables in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pearrt.codec import canonical
from pearrt.crypto.hashes import sha256
from pearrt.errors import UserError

DIGEST_TAG = b"pearrt-permissions-v4\0"
MIB = 1 << 20
GIB = 1 << 30
MAX_HOSTS = 32
MAX_PROCESSORS = 256
STORAGE_BOUNDS = (1 * MIB, 1024 * GIB)
MEMORY_BOUNDS = (64 * MIB, 256 * GIB)
PROCESS_BOUNDS = (8, 4096)
_P2P = {
    "join": "exchange messages with this app on other machines, which see your network address",
    "store": "keep up to {more} more, and give it to this app on other machines, also while it is closed",
}
P2P_VERBS = tuple(_P2P)

_SIZE = re.compile(r"([0-9]{1,15})\s*(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)?")
_UNITS = {
    "B": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": GIB, "TiB": 1 << 40,
    "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Permissions:
    """One normalised request. Sizes are bytes, tuples are sorted and unique."""

    storage_bytes: int = 1 * GIB
    memory_bytes: int = 2 * GIB
    processors: int = 4
    processes: int = 256
    net_hosts: tuple[str, ...] = ()
    p2p: tuple[str, ...] = ()
    ui: bool = False
    notify: bool = False
    clipboard: bool = False
    files: bool = False
    background: bool = False
    run_native: bool = False

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Permissions:
        """The permissions of a manifest's table; nested (`{"net": {"hosts": […]}}`) or dotted (`net.hosts`)
        keys.

        Raises UserError for an unknown key, a value of the wrong type or out of bounds, or a key given twice.
        """
        found: dict[str, Any] = {}
        for key, value in _flatten(table):
            if key not in _KEYS:
                raise UserError(f"Unknown permission {ascii(key)[:80]}.", hint=_suggestion(key))
            attribute, read = _KEYS[key]
            if attribute in found:
                raise UserError(f"Permission {key} is given twice.")
            found[attribute] = read(key, value)
        return cls(**found)

    def describe(self) -> list[str]:
        """What approving means, in plain words, one line per permission; no escapes or control characters."""
        lines = [
            f"keep up to {format_size(self.storage_bytes)} of private files, in a folder of its own",
            f"use up to {format_size(self.memory_bytes)} of memory",
            f"use up to {_counted(self.processors, 'processor')} and {self.processes} processes and threads",
        ]
        lines += [f"connect to {host}" for host in self.net_hosts]
        lines += [meaning for name, meaning in _FLAGS.items() if getattr(self, name)]
        lines += [_P2P[verb].format(more=format_size(self.storage_bytes)) for verb in self.p2p]
        other = "other " if self.net_hosts else ""
        return [*lines, f"no {other}access to the network, to your files or to other programs"]

    def digest(self) -> bytes:
        """SHA-256 of the canonical form: equal exactly when the requests are equal."""
        value = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        return sha256(DIGEST_TAG + canonical.encode(value))

    def widens(self, old: Permissions) -> bool:
        """True where this request asks for anything that `old` did not."""
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(old, item.name)
            if isinstance(mine, tuple):
                if not set(mine) <= set(theirs):
                    return True
            elif mine > theirs:
                return True
        return False

    def within(self, other: Permissions) -> Permissions:
        """What both requests have: an app's own asking, inside what the person gave."""
        both: dict[str, Any] = {}
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if isinstance(mine, tuple):
                both[item.name] = tuple(value for value in mine if value in theirs)
            else:
                both[item.name] = min(mine, theirs)
        return Permissions(**both)

    def without(self, refused: Iterable[str]) -> Permissions:
        """The request less what the person refused: keys of OPTIONAL, single `host:port`s."""
        names, left = set(refused), self
        for name in names & OPTIONAL.keys():
            empty: Any = () if isinstance(getattr(self, OPTIONAL[name]), tuple) else False
            left = replace(left, **{OPTIONAL[name]: empty})
        return replace(left, net_hosts=tuple(host for host in left.net_hosts if host not in names))

    def optional(self) -> list[str]:
        """The optional permissions that this request asks for, each as a name to refuse it by."""
        flags = {name: attribute for name, attribute in OPTIONAL.items() if name != NET_HOSTS}
        return [*self.net_hosts, *(name for name, attribute in flags.items() if getattr(self, attribute))]


def parse_optional(text: str) -> str:
    """The name of one optional permission as a person writes it, normalised. Raises UserError for another."""
    if text in OPTIONAL:
        return text
    if ":" in text:
        return _host(NET_HOSTS, text)
    raise UserError(
        f"{ascii(text)[:80]} is no permission that can be given or revoked alone.",
        hint=f"Known: {', '.join(OPTIONAL)}, or one host:port of net.hosts.",
    )


def parse_size(text: object, *, what: str = "size") -> int:
    """Bytes of `64 MiB`, `1 GB`, `512` or an int. Raises UserError for anything else."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= 32 else None
    if match is None:
        raise UserError(f"{what} is no size: {ascii(text)[:60]}.", hint='Write it like "64 MiB" or "2 GiB".')
    return int(match[1]) * _UNITS[match[2] or "B"]


def format_size(size: int) -> str:
    """The largest binary unit that fits: `64 MiB`, `1.5 GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.4g} {unit}"
    return f"{size} B"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _flatten(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(table, Mapping):
        raise UserError(f"Permissions are a table, not {type(table).__name__}.")
    pairs: list[tuple[str, Any]] = []
    for key, value in table.items():
        if not isinstance(key, str):
            raise UserError("A permission's name is text.")
        if isinstance(value, Mapping) and not prefix:
            pairs += _flatten(value, f"{key}.")
        else:
            pairs.append((prefix + key, value))
    return pairs


def _suggestion(key: str) -> str:
    import difflib

    close = difflib.get_close_matches(key[:80], _KEYS, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known permissions: {', '.join(_KEYS)}."


def _bounded_size(low: int, high: int) -> Callable[[str, Any], int]:
    def read(key: str, value: Any) -> int:
        size = parse_size(value, what=f"Permission {key}")
        if not low <= size <= high:
            raise UserError(f"Permission {key} is between {format_size(low)} and {format_size(high)}.")
        return size

    return read


def _bounded_int(low: int, high: int, what: str) -> Callable[[str, Any], int]:
    def read(key: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise UserError(f"Permission {key} is a whole number of {what} between {low} and {high}.")
        return value

    return read


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"Permission {key} is true or false.")
    return value


def _texts(key: str, value: Any, limit: int) -> list[str]:
    if (
        not isinstance(value, list | tuple)
        or len(value) > limit
        or not all(isinstance(v, str) for v in value)
    ):
        raise UserError(f"Permission {key} is a list of at most {limit} texts.")
    return list(value)


def _p2p(key: str, value: Any) -> tuple[str, ...]:
    verbs = _texts(key, value, len(P2P_VERBS))
    if unknown := [verb for verb in verbs if verb not in P2P_VERBS]:
        raise UserError(f"Permission {key} knows {', '.join(P2P_VERBS)}, not {ascii(unknown[0])[:40]}.")
    return tuple(sorted(set(verbs)))


def _hosts(key: str, value: Any) -> tuple[str, ...]:
    return tuple(sorted({_host(key, text) for text in _texts(key, value, MAX_HOSTS)}))


def _host(key: str, text: str) -> str:
    """`host:port` in lower case; a public DNS name or a public IP address, never this machine or its
    network."""
    from pearrt.sandbox.address import join, public_host

    return join(*public_host(text, f"Permission {key}"))


_FLAGS = {
    "notify": "show notifications on your desktop",
    "background": "keep running after its terminal is closed",
    "ui": "show a page of its own in your browser",
    "files": "open and save files that you pick, one by one",
    "clipboard": "put text on your clipboard, and read it when you say yes, each time",
    "run_native": "run as a native program: only the kernel stands between it and this machine",
}

_KEYS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "storage": ("storage_bytes", _bounded_size(*STORAGE_BOUNDS)),
    "memory": ("memory_bytes", _bounded_size(*MEMORY_BOUNDS)),
    "cpu": ("processors", _bounded_int(1, MAX_PROCESSORS, "processors")),
    "processes": ("processes", _bounded_int(*PROCESS_BOUNDS, "processes and threads")),
    "net.hosts": ("net_hosts", _hosts),
    "p2p": ("p2p", _p2p),
    "ui": ("ui", _flag),
    "notify": ("notify", _flag),
    "clipboard": ("clipboard", _flag),
    "files": ("files", _flag),
    "background": ("background", _flag),
    "run.native": ("run_native", _flag),
}

NET_HOSTS = "net.hosts"
_SHARES = ("storage", "memory", "cpu", "processes")
OPTIONAL = {key: attribute for key, (attribute, _) in _KEYS.items() if key not in _SHARES}

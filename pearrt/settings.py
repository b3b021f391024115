"""Settings: one frozen value, read once.

A command-line flag beats an environment variable, that beats the TOML file (`Home.config_file`), that beats
the default. A name that nobody knows (a key of the file, a `PEARRT_` variable, a flag) is an error that
suggests the name meant: a misspelt `idle_exit_s` must not quietly leave the default in place. So is a value
that does not fit; the message says where it stands.

Each field is written once, with its reader, default and help; the reference page is generated from here. An
empty variable counts as unset. The word `none` empties a list or lifts a limit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from pearrt.errors import UserError
from pearrt.link import HostPort
from pearrt.paths import Home

PREFIX = "PEARRT_"
MAX_FILE_BYTES = 64 * 1024
MAX_LIST = 64
PSK_BYTES = 32
NONE = "none"

# Variables that are read elsewhere, and prefixes of those that belong to tests and to running apps.
OTHER_VARIABLES: Mapping[str, str] = {
    "PEARRT_HOME": "All state of pearrt lives under this folder.",
    "PEARRT_DEMO_APP": "The link of the app that a running `pearrt demo` made itself.",
    "PEARRT_LOG_LEVEL": "How much the daemon writes to its log: DEBUG, INFO, WARNING, ERROR.",
    "PEARRT_DATA": "Set for a running app: its private folder.",
    "PEARRT_CHANNEL_FD": "Set for a running app: the descriptor of its stream to the daemon.",
    "PEARRT_PAGE_FD": "Set for the backend of a web app: the descriptor of its stream to the page.",
    "PEARRT_UI_FD": "Set for an app with a page of its own: the descriptor of the socket to listen on.",
}
OTHER_PREFIXES = ("PEARRT_TEST_", "PEARRT_APP_")

Mdns = Literal["off", "loopback", "all"]
Reader = Callable[[object], Any]

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]{0,63}")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    raise ValueError("expected 1 or 0 (true or false)")


def _whole(low: int, high: int, *, none: bool = False) -> Reader:
    """A reader of whole numbers from `low` to `high`; with `none`, that word stands for None."""
    expected = f"expected a whole number from {low} to {high}" + (", or none" if none else "")

    def read(value: object) -> int | None:
        if none and value == NONE:
            return None
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(high)):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(expected)
        return value

    return read


def _one_of(*words: str) -> Reader:
    def read(value: object) -> object:
        if value not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return value

    return read


def _host_port(value: object) -> HostPort:
    if isinstance(value, HostPort):
        return value
    if not isinstance(value, str):
        raise ValueError("expected host:port")
    try:
        return HostPort.parse(value)
    except UserError as e:
        raise ValueError(e.message) from e


def _hosts_ports(value: object) -> tuple[HostPort, ...]:
    if isinstance(value, str):
        value = [] if value == NONE else [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise ValueError("expected host:port,host:port,…")
    if len(value) > MAX_LIST:
        raise ValueError(f"at most {MAX_LIST} are allowed")
    return tuple(dict.fromkeys(_host_port(item) for item in value))


def _listen(value: object) -> HostPort:
    """Like host:port, but port 0 is allowed too: a random one, remembered."""
    if isinstance(value, str) and value.endswith(":0"):
        return HostPort(_host_port(value[:-1] + "1").host, 0)
    return _host_port(value)


def _file(value: object) -> Path:
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise ValueError("expected the path of a file")
    return Path(value).expanduser()


def _word(value: object) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise ValueError("expected letters, digits and . + ! _ -")
    return value


def _about(read: Reader, text: str) -> dict[str, object]:
    return {"read": read, "help": text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a daemon, and a command that starts one, is told. `load` reads it."""

    bootstrap: tuple[HostPort, ...] | None = field(
        default=None,
        metadata=_about(
            _hosts_ports, "First DHT nodes, host:port. Unset: the public ones of BitTorrent Mainline."
        ),
    )
    dht: bool = field(default=True, metadata=_about(_truth, "Find peers through the DHT."))
    mdns: Mdns = field(
        default="all",
        metadata=_about(
            _one_of("off", "loopback", "all"),
            "Find peers in the LAN by mDNS: `off`, `loopback` (this machine only), `all`.",
        ),
    )
    hosts: tuple[HostPort, ...] = field(
        default=(),
        metadata=_about(
            _hosts_ports, "Peers to ask first, host:port: an office's cache host, a friend's machine."
        ),
    )
    listen: HostPort | None = field(
        default=None,
        metadata=_about(
            _listen,
            "Where peers (TCP) and nodes (UDP) reach this one, host:port. "
            "Unset: every address; unset or port 0: a random port, remembered.",
        ),
    )
    psk_file: Path | None = field(
        default=None,
        metadata=_about(
            _file, "File with a private network's pre-shared key, 64 hexadecimal digits, yours alone."
        ),
    )
    idle_exit_s: int | None = field(
        default=3600,
        metadata=_about(
            _whole(0, 10**9, none=True),
            "Seconds that the daemon seeds on after the last app has ended; `none` for a service that stays.",
        ),
    )
    max_peers: int = field(
        default=200, metadata=_about(_whole(1, 10_000), "Connections to peers held at once.")
    )
    mirror_view: bool = field(
        default=True,
        metadata=_about(
            _truth,
            "Answer HTTP on the peer port with a read-only view of public apps (never in a private network).",
        ),
    )

    update_channel: str | None = field(
        default=None,
        metadata=_about(
            _word, "Channel of pearrt's own releases. Unset: what `pearrt pin` or its link says."
        ),
    )
    update_pin: str | None = field(
        default=None,
        metadata=_about(
            _word, "The only version that pearrt updates itself to. Unset: what `pearrt pin` says."
        ),
    )
    update_delay_s: int | None = field(
        default=None,
        metadata=_about(
            _whole(0, 10**9),
            "Seconds that a release of pearrt has to be old; security releases wait for nothing. "
            "Unset: what `pearrt pin` says.",
        ),
    )
    update_trial_s: int = field(
        default=10,
        metadata=_about(_whole(1, 3600), "Seconds that a new version of pearrt has to stay up to be kept."),
    )

    @classmethod
    def load(
        cls,
        home: Home,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> Settings:
        """The settings of `home`. `overrides` are flags by field name; None means that a flag was not given.

        Raises UserError for an unreadable file, an unknown name or a value that does not fit.
        """
        environ = os.environ if environ is None else environ
        given = {name: value for name, value in (overrides or {}).items() if value is not None}
        values: dict[str, Any] = {}
        for source in (_from_file(home.config_file), _from_environ(environ), _from_flags(given)):
            values.update(source)
        if "psk_file" in values:
            values["psk_file"] = values["psk_file"].absolute()  # a daemon started from here has another cwd
        return cls(**values)

    def read_psk(self) -> bytes:
        """The pre-shared key, 32 bytes, or nothing outside a private network. Raises UserError."""
        return _read_psk(self.psk_file) if self.psk_file else b""


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One line of the reference: the field's name in the TOML file, its variable, default and help."""

    name: str
    variable: str
    default: str
    help: str


def reference() -> list[SettingInfo]:
    """All settings in order of declaration."""
    return [
        SettingInfo(
            name=item.name,
            variable=variable(item.name),
            default="unset" if item.default is None else _text_of(item.default),
            help=item.metadata["help"],
        )
        for item in fields(Settings)
    ]


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def _text_of(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or NONE
    return NONE if value is None else str(value)


def _readers() -> dict[str, Reader]:
    return {item.name: item.metadata["read"] for item in fields(Settings)}


def _read(name: str, value: object, place: str) -> Any:
    try:
        return _readers()[name](value)
    except ValueError as e:
        raise UserError(f"{place} is {str(value)[:80]!r}: {e}.") from e


def _unknown(what: str, name: str, known: list[str]) -> UserError:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(known)}."
    return UserError(f"There is no {what} {name[:80]}.", hint=hint)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise UserError(f"Cannot read {path}: {e.strerror}.") from e
    if len(raw) > MAX_FILE_BYTES:
        raise UserError(f"{path} is larger than {MAX_FILE_BYTES} bytes: that is no settings file.")
    import tomllib

    try:
        table = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UserError(f"{path} is not valid TOML: {e}.") from e
    known = list(_readers())
    values = {}
    for name, value in table.items():
        if name not in known:
            raise _unknown(f"setting in {path} called", name, known)
        values[name] = _read(name, value, f"{name} in {path}")
    if psk_file := values.get("psk_file"):
        values["psk_file"] = path.parent / psk_file  # a relative path starts at the file that names it
    return values


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    names = {variable(name): name for name in _readers()}
    values = {}
    for key, text in environ.items():
        if not key.startswith(PREFIX) or key in OTHER_VARIABLES or key.startswith(OTHER_PREFIXES):
            continue
        if key not in names:
            raise _unknown("variable", key, [*names, *OTHER_VARIABLES])
        if text:
            values[names[key]] = _read(names[key], text, key)
    return values


def _from_flags(given: Mapping[str, object]) -> dict[str, Any]:
    known = list(_readers())
    for name in given:
        if name not in known:
            raise _unknown("setting", name, known)
    return {name: _read(name, value, "--" + name.replace("_", "-")) for name, value in given.items()}


def _read_psk(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(1024).strip()
    except OSError as e:
        raise UserError(f"Cannot read the pre-shared key {path}: {e.strerror}.") from e
    if os.name == "posix" and mode & 0o077:
        raise UserError(
            f"Others may read the pre-shared key {path}.", hint=f"Make it yours alone: chmod 600 {path}"
        )
    try:
        psk = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        psk = b""
    if len(psk) != PSK_BYTES:
        raise UserError(
            f"{path} holds no pre-shared key: expected {2 * PSK_BYTES} hexadecimal digits.",
            hint=f"Make one: (umask 077; openssl rand -hex 32 > {path})",
        )
    return psk

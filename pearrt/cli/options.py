"""Options and arguments that several commands share."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from pearrt.errors import BadLink, UserError
from pearrt.link import KEY_LETTERS, HostPort, Link

if TYPE_CHECKING:
    from pearrt.daemon.caller import Daemon


class LinkType(click.ParamType[Link]):
    """A link, or the bare key of one."""

    name = "link"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Link:
        if isinstance(value, Link):
            return value
        try:
            return Link.parse(value)
        except BadLink as e:
            if self.is_name(value):
                self.fail(self.name_is_no_link.format(ascii(value)), param, ctx)
            self.fail(f"{e.message} {e.hint}", param, ctx)

    name_is_no_link: ClassVar[str] = "{} is no link. `pearrt list` shows the links of installed apps."

    @staticmethod
    def is_name(value: str) -> bool:
        """Whether this is a name that was typed, rather than a link that lost a letter."""
        return "://" not in value and len(value) < KEY_LETTERS // 2


class LinkOrFileType(LinkType):
    """A link, the path of a `.pear` file, or a folder. What could be a link is one, unless it begins with `.`
    or `/`."""

    name = "link"
    name_is_no_link: ClassVar[str] = "There is no folder {}, and a link starts with pearrt://."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.endswith(".pear") and "://" not in value:
            return Path(value)
        if isinstance(value, str) and value and "://" not in value:
            folder = Path(value)
            if folder.is_dir() and (value[0] in "./" or not _is_link(value)):
                return folder
            if value[0] in "./":
                self.fail(f"There is no folder {value}.", param, ctx)
        return super().convert(value, param, ctx)


def _is_link(value: str) -> bool:
    try:
        Link.parse(value)
    except BadLink:
        return False
    return True


class HostPortType(click.ParamType[HostPort]):
    """host:port."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> HostPort:
        if isinstance(value, HostPort):
            return value
        try:
            return HostPort.parse(value)
        except BadLink as e:
            self.fail(e.message, param, ctx)


class DurationType(click.ParamType[int]):
    """A span of time such as 90m, 12h, 3d or 2w; 0 for none. In seconds."""

    name = "duration"
    units: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        number, unit = text[:-1], text[-1:]
        if text == "0":
            return 0
        if unit not in self.units or not (number.isascii() and number.isdigit()) or len(number) > 6:
            self.fail(f"{text!r} is no span of time. Write it like 90m, 12h or 3d.", param, ctx)
        return int(number) * self.units[unit]


link_argument = click.argument("link", type=LinkType())


stale_option = click.option(
    "--allow-stale", is_flag=True, help="Although the publisher has not confirmed it for long."
)
bootstrap_option = click.option(
    "--bootstrap", type=HostPortType(), multiple=True, help="First DHT node, instead of the public ones."
)


def by_commas(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Of an option that may be repeated and hold several values, each one: a callback."""
    return tuple(each.strip() for value in values for each in value.split(",") if each.strip())


def grouped(name: str, make: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds these options to a command, which gets what `make` makes of them, as `name`."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            values = {option: given.pop(option) for option in names}
            return function(*args, **{name: make(**values)}, **given)

        names = [parameter.name for parameter in _parameters(options)]
        for option in reversed(options):
            option(command)
        return command

    return add


def _parameters(options: Iterable[Callable[..., Any]]) -> list[click.Parameter]:
    """What click makes of the decorators."""

    def nothing() -> None: ...

    for option in options:
        option(nothing)
    found: list[click.Parameter] = getattr(nothing, "__click_params__", [])
    return found


@dataclass(frozen=True, slots=True)
class Network:
    """Where to look for peers. This configures a daemon that the command starts, and reaches one that runs
    already by the hints of a link."""

    bootstrap: tuple[HostPort, ...] = ()
    hosts: tuple[HostPort, ...] = ()
    no_dht: bool = False

    def daemon(self) -> Daemon:
        """The daemon of this home; started, with these settings, at the first request."""
        from pearrt.daemon.caller import Daemon
        from pearrt.paths import Home

        environ = dict(os.environ)
        if self.bootstrap:
            environ["PEARRT_BOOTSTRAP"] = ",".join(map(str, self.bootstrap))
        if self.hosts:
            environ["PEARRT_HOSTS"] = ",".join(map(str, self.hosts))
        if self.no_dht:
            environ["PEARRT_DHT"] = "0"
        return Daemon(Home.from_environment(), environ=environ)

    def hinted(self, link: Link, *more: HostPort) -> Link:
        """The link with these nodes, and `more`, as hints before its own.

        A hint is tried as a DHT node and as a peer: both listen on one port.
        """
        nodes = dict.fromkeys([*self.bootstrap, *self.hosts, *more, *link.nodes])
        return replace(link, nodes=tuple(nodes))


network_options = grouped(
    "network",
    Network,
    bootstrap_option,
    click.option("--host", "hosts", type=HostPortType(), multiple=True, help="A peer to ask first."),
    click.option("--no-dht", is_flag=True, help="Do not use the DHT (for a daemon that this starts)."),
)


def open_daemon() -> Daemon:
    """The daemon of this home, started at the first request."""
    return Network().daemon()


@dataclass(frozen=True, slots=True)
class Keys:
    """The signing keys at hand, as files or names, and where their passwords are."""

    names: tuple[str, ...]
    password_files: tuple[Path, ...]

    def unlock(self) -> list[bytes]:
        """Their seeds. Raises UserError for a wrong password or a missing key."""
        from pearrt.crypto import keyfile
        from pearrt.paths import Home
        from pearrt.publish.keys import find_key, read_password

        count, files = len(self.names), self.password_files
        if len(files) not in (0, 1, count):
            raise UserError(f"{count} keys and {len(files)} password files do not pair up.")
        seeds = []
        for position, name in enumerate(self.names):
            path = find_key(Home.from_environment().keys, name)
            if files:
                password = read_password(files[position % len(files)])
            else:
                password = ask_password(f"Password of {path.name}")
            seeds.append(keyfile.unlock(path, password))
        return seeds


key_options = grouped(
    "keys",
    Keys,
    click.option(
        "--key",
        "names",
        multiple=True,
        help="A key file that signs, or the name of one in `pearrt keys list`.",
    ),
    click.option(
        "--password-file",
        "password_files",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Password on its first line: one for all, or one for each --key. Else you are asked.",
    ),
)


def ask_password(text: str, *, twice: bool = False) -> str:
    """Asks at the terminal. Raises UserError where there is none."""
    if not sys.stdin.isatty():
        raise UserError("There is no terminal to ask for a password on.", hint="Pass --password-file FILE.")
    password: str = click.prompt(text, hide_input=True, confirmation_prompt=twice, err=True)
    return password

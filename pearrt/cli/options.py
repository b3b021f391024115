"""Options and arguments that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from pearrt.errors import BadLink, UserError
from pearrt.link import HostPort, Link

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
            self.fail(f"{e.message} {e.hint}", param, ctx)


class LinkOrFileType(LinkType):
    """A link, the path of a `.pear` file, or a folder (with a `/` in its name, or `.`)."""

    name = "link"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.endswith(".pear") and "://" not in value:
            return Path(value)
        if isinstance(value, str) and ("/" in value or value == ".") and "://" not in value:
            folder = Path(value)
            if folder.is_dir():
                return folder
        return super().convert(value, param, ctx)


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


def network_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where to look for peers. They configure a daemon that this command starts, and reach one that runs
    already."""
    options = (
        click.option(
            "--bootstrap",
            type=HostPortType(),
            multiple=True,
            help="First DHT node, instead of the public ones.",
        ),
        click.option("--host", "hosts", type=HostPortType(), multiple=True, help="A peer to ask first."),
        click.option("--no-dht", is_flag=True, help="Do not use the DHT (for a daemon that this starts)."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def open_daemon(
    bootstrap: tuple[HostPort, ...] = (), hosts: tuple[HostPort, ...] = (), no_dht: bool = False
) -> Daemon:
    """The daemon of this home; started, with these settings, at the first request."""
    from pearrt.daemon.caller import Daemon
    from pearrt.paths import Home

    environ = dict(os.environ)
    if bootstrap:
        environ["PEARRT_BOOTSTRAP"] = ",".join(map(str, bootstrap))
    if hosts:
        environ["PEARRT_HOSTS"] = ",".join(map(str, hosts))
    if no_dht:
        environ["PEARRT_DHT"] = "0"
    return Daemon(Home.from_environment(), environ=environ)


def with_nodes(link: Link, *nodes: HostPort) -> Link:
    """The link with these nodes as hints too, which is how they reach a daemon that runs already.

    A hint is tried as a DHT node and as a peer: both listen on one port.
    """
    from dataclasses import replace

    return replace(link, nodes=tuple(dict.fromkeys([*nodes, *link.nodes]))) if nodes else link


def key_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The signing keys at hand and where their passwords are."""
    options = (
        click.option(
            "--key",
            "keys",
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
    for option in reversed(options):
        function = option(function)
    return function


def unlock_keys(keys: tuple[str, ...], password_files: tuple[Path, ...]) -> list[bytes]:
    """The seeds of the keys named. Raises UserError for a wrong password or a missing key."""
    from pearrt.crypto import keyfile
    from pearrt.paths import Home
    from pearrt.publish.keys import find_key, read_password

    if len(password_files) not in (0, 1, len(keys)):
        raise UserError(f"{len(keys)} keys and {len(password_files)} password files do not pair up.")
    files = list(password_files) * len(keys) if len(password_files) == 1 else list(password_files)
    seeds = []
    for position, name in enumerate(keys):
        path = find_key(Home.from_environment().keys, name)
        password = read_password(files[position]) if files else ask_password(f"Password of {path.name}")
        seeds.append(keyfile.unlock(path, password))
    return seeds


def ask_password(text: str, *, twice: bool = False) -> str:
    """Asks at the terminal. Raises UserError where there is none."""
    if not sys.stdin.isatty():
        raise UserError("There is no terminal to ask for a password on.", hint="Pass --password-file FILE.")
    password: str = click.prompt(text, hide_input=True, confirmation_prompt=twice, err=True)
    return password

"""The bootstrapper's command line: a few options of its own, then a pearrt command, passed on whole."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from bootstrap.carried import Carried
from pearrt import __version__
from pearrt.bundle.pear_file import SUFFIX, PearFile
from pearrt.errors import BadLink, UserError
from pearrt.gateway.http_source import HttpSource
from pearrt.link import MAX_HINTS, HostPort, Link

PEARRT = "--pearrt"
_WITH_VALUE = ("--bootstrap", "--host")
_USAGE = "python3 %(prog)s [options] run LINK|FILE [arguments] | install | any other pearrt command"
_ABOUT = """\
Brings pearrt onto this machine, peer to peer, and hands over to it. Nothing but Python is needed. What is
installed is verified against the threshold of pearrt's signers; run it again to go on after an interruption.
"""
_CARRIES = """
It carries the app {app}: everything on the command line is the app's, unless it begins with --pearrt.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for. `command` is what the installed pearrt is started with, () for none."""

    command: tuple[str, ...]
    runtime: Link
    hosts: tuple[HostPort, ...] = ()
    nodes: tuple[HostPort, ...] = ()
    mirrors: tuple[str, ...] = ()
    app: Link | None = None
    file: Path | None = None
    offline: bool = False
    dht: bool = True
    allow_stale: bool = False
    as_json: bool = False
    timeout_s: float = 30.0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}.", hint="--help shows how it is called.")


def parse(argv: Sequence[str], carried: Carried, program: str) -> Options:
    """The options in `argv`. Raises UserError, BadLink. Prints and exits for --help and --version."""
    argv = list(argv)
    if carried.app is not None and argv[:1] != [PEARRT]:
        argv = ["run", str(carried.app), *argv]
    elif carried.app is not None:
        argv = argv[1:]
    parser = _parser(carried, program)
    given = parser.parse_args(argv)
    if given.command[:1] == ["install"]:  # whose options are this program's own
        argv = [*argv[: len(argv) - len(given.command)], *given.command[1:]]
        given = parser.parse_args(argv)
        if given.command:
            raise UserError(f"install takes no {given.command[0]!r}.", hint="--help shows how it is called.")
        given.command = ["install"]
    runtime = given.runtime or carried.runtime
    if runtime is None:
        raise UserError(
            "This bootstrapper carries no link of pearrt's own releases.",
            hint="Name it: --runtime pearrt://…, or build a bootstrapper that carries it.",
        )
    command = _command(given, carried)
    options = Options(
        command=() if command == ("install",) else command,
        runtime=runtime,
        hosts=tuple(given.host),
        nodes=(*given.node, *carried.nodes),
        mirrors=tuple(given.mirror),
        file=given.offline,
        offline=given.offline is not None,
        dht=not given.no_dht,
        allow_stale=given.allow_stale,
        as_json=given.json,
        timeout_s=given.timeout,
    )
    return _of_run(options, carried) if command[0] == "run" else options


def _command(given: argparse.Namespace, carried: Carried) -> tuple[str, ...]:
    """What pearrt is to do; without a word, what is carried or in the file is run."""
    if given.command:
        return tuple(given.command)
    for app in (carried.app, given.offline):
        if app is not None:
            return ("run", str(app))
    raise UserError("Nothing to do.", hint="--help shows how it is called.")


def _of_run(options: Options, carried: Carried) -> Options:
    """What `run` and its own options tell: where else to look, and the link with the carried nodes in it."""
    command = list(options.command)
    at = 1
    while at < len(command) and command[at].startswith("-"):
        name, equals, value = command[at].partition("=")
        at += 1
        if name in _WITH_VALUE and not equals and at < len(command):
            value, at = command[at], at + 1
        if name == "--host" and value:
            options = replace(options, hosts=(*options.hosts, HostPort.parse(value)))
        if name == "--bootstrap" and value:
            options = replace(options, nodes=(HostPort.parse(value), *options.nodes))
        options = replace(
            options,
            dht=options.dht and name != "--no-dht",
            allow_stale=options.allow_stale or name == "--allow-stale",
        )
    if at >= len(command):
        return options
    what = command[at]
    if what.endswith(SUFFIX) or Path(what).is_file():
        return replace(options, file=options.file or Path(what))
    link = Link.parse(what)
    if options.offline and options.file is not None:
        command[at] = str(_holding(options.file, link))
        return replace(options, app=link, command=tuple(command))
    nodes = tuple(dict.fromkeys([*link.nodes, *carried.nodes]))[:MAX_HINTS]
    command[at] = str(replace(link, nodes=nodes))
    return replace(options, app=link, command=tuple(command))


def _holding(file: Path, link: Link) -> Path:
    """The file, which runs as the app behind `link`. Raises UserError where it would run another."""
    with PearFile(file) as pear:
        held = Link.parse(pear.links[0])
    if held.app_key != link.app_key:
        raise UserError(
            f"{file} does not run that app; it runs {held}.",
            hint="Without --offline peers are asked.",
        )
    return file


def _parser(carried: Carried, program: str) -> argparse.ArgumentParser:
    about = _ABOUT + (_CARRIES.format(app=carried.app) if carried.app else "")
    parser = _Parser(prog=program, usage=_USAGE, description=about, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--offline", metavar="FILE", type=Path, help="take all from a .pear file, nothing from the network")
    for name, about in (("--host", "a peer to ask first"), ("--node", "a DHT node and peer to begin with")):
        add(name, metavar="HOST:PORT", type=_read(HostPort.parse), action="append", default=[], help=about)
    add(
        "--mirror",
        metavar="URL",
        type=_read(lambda text: HttpSource(text).base),
        action="append",
        default=[],
        help="a mirror to fetch from",
    )
    add("--no-dht", action="store_true", help="do not use the DHT")
    add("--allow-stale", action="store_true", help="install although not confirmed for long")
    add("--timeout", metavar="SECONDS", type=float, default=30.0, help="how long to look for peers (30)")
    add(
        "--runtime",
        metavar="LINK",
        type=_read(Link.parse),
        help="whose releases of pearrt to install, instead of what this carries",
    )
    add("--json", action="store_true", help="with install: one JSON object on stdout")
    add("--version", action="version", version=f"pearrt bootstrapper {__version__}")
    add("command", nargs=argparse.REMAINDER, help="run, install, or any other command of pearrt")
    return parser


def _read(parse_text: Callable[[str], Any]) -> Callable[[str], Any]:
    """For argparse, which wants errors of its own."""

    def read(text: str) -> Any:
        try:
            return parse_text(text)
        except BadLink as e:
            raise argparse.ArgumentTypeError(e.message) from e

    return read

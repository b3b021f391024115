"""The program: what is asked for, what is installed already, what has to be done, and then pearrt itself."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bootstrap.carried import Carried
from bootstrap.screen import Screen, size
from pearrt.errors import PearrtError
from pearrt.link import MAX_HINTS, Link
from pearrt.paths import Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bootstrap.install import Report
    from bootstrap.installation import Task
    from bootstrap.options import Options

INTERRUPTED = 130
GRACE_S = 2.0
ENVELOPE_VERSION = 1  # as pearrt.cli.output


def run(argv: Sequence[str], carried: bytes | None = None) -> int:
    """The exit code; does not return where pearrt takes this process over. `carried`: the file of that
    name."""
    as_json = "install" in argv and "--json" in argv
    before = signal.signal(signal.SIGINT, _interrupted)
    try:
        return _run(list(argv), Carried() if carried is None else Carried.decode(carried))
    except KeyboardInterrupt:
        return INTERRUPTED
    except PearrtError as e:
        _tell(e, as_json)
        return e.exit_code
    except BrokenPipeError:
        return 1
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupted(number: int, frame: object) -> None:
    """Ends the work; all that is on disk may be left at any moment. Where a thread holds that up, ends it
    anyway, and a second Ctrl-C does at once."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    os.write(2, b"\ninterrupted; run it again to go on from here\n")
    timer = threading.Timer(GRACE_S, os._exit, (INTERRUPTED,))
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def _run(argv: list[str], carried: Carried) -> int:
    from bootstrap.options import parse

    program = os.path.basename(sys.argv[0])
    options = parse(argv, carried, program)
    home = Home.from_environment()
    report = _install_if_needed(options, home)
    if options.command:
        return _hand_over(home, options)
    _tell_installed(report, home, options.as_json)
    return 0


def _install_if_needed(options: Options, home: Home) -> Report | None:
    from bootstrap.install import install, installed

    if installed(home) is not None:
        return None
    screen = Screen(quiet=options.as_json)
    try:
        report = install(_task(options, home), home, screen)
    finally:
        screen.clear()
    if report is not None:
        fetched = ", ".join(f"{size(count)} from {name}" for name, count in report.fetched.items())
        screen.say(
            f"pearrt {report.version} installed in {report.seconds:.1f} s: {fetched or 'all was here'}"
        )
    return report


def _task(options: Options, home: Home) -> Task:
    """Everything that is known of where to look, together."""
    from bootstrap.discovery import Places
    from bootstrap.installation import Task
    from pearrt.dht.settings import DEFAULT_BOOTSTRAP
    from pearrt.settings import Settings

    settings = Settings.load(home)
    app_nodes = options.app.nodes if options.app else ()
    app_mirrors = options.app.mirrors if options.app else ()
    nodes = tuple(dict.fromkeys((*options.nodes, *options.runtime.nodes, *app_nodes)))
    first = DEFAULT_BOOTSTRAP if settings.bootstrap is None else settings.bootstrap
    runtime = replace(
        options.runtime, nodes=tuple(dict.fromkeys((*options.runtime.nodes, *nodes)))[:MAX_HINTS]
    )
    places = Places(
        hosts=tuple(dict.fromkeys((*options.hosts, *settings.hosts, *nodes))),
        mirrors=tuple(dict.fromkeys((*options.mirrors, *options.runtime.mirrors, *app_mirrors))),
        bootstrap=(*nodes, *first) if settings.dht and options.dht else (),
        bind=settings.listen.host if settings.listen else "0.0.0.0",  # noqa: S104 - answers come from anywhere
        mdns=settings.mdns,
    )
    return Task(
        link=_plain(runtime),
        places=Places() if options.offline else places,
        file=options.file,
        psk=settings.read_psk(),
        allow_stale=options.allow_stale,
        timeout_s=options.timeout_s,
    )


def _plain(link: Link) -> Link:
    """The link without what is meant for a running app."""
    return replace(link, path="", fragment="")


def _hand_over(home: Home, options: Options) -> int:
    """This process becomes the installed pearrt, which has the rest of the command line."""
    from pearrt.runtime.layout import RuntimeFolder, command

    environ = _environ(os.environ, options)
    line = command(home.data, RuntimeFolder(home.data).choose().runs, options.command)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "posix":  # exec there is a new process that nobody waits for
        return subprocess.call(line, env=environ)
    try:
        os.execve(line[0], line, environ)  # noqa: S606 - that is what this is for
    except OSError as e:
        if e.errno != errno.E2BIG:
            raise
        sys.stderr.write("error: the command line is too long\n")
    return 2


def _environ(environ: Mapping[str, str], options: Options) -> dict[str, str]:
    """The environment, with the hosts that were named here for the daemon that pearrt starts."""
    result = dict(environ)
    if options.hosts:
        given = [part for part in environ.get("PEARRT_HOSTS", "").split(",") if part and part != "none"]
        result["PEARRT_HOSTS"] = ",".join(dict.fromkeys([*map(str, options.hosts), *given]))
    return result


def _tell_installed(report: Report | None, home: Home, as_json: bool) -> None:
    from pearrt.runtime.layout import RuntimeFolder

    state = RuntimeFolder(home.data).read()
    start = home.data / "bin" / "pearrt"
    if as_json:
        result = {
            "version": state.name(state.runs),
            "digest": state.runs,
            "command": str(start),
            "fetched": report.fetched if report else {},
            "seconds": round(report.seconds, 3) if report else 0,
        }
        print(json.dumps({"pearrt": ENVELOPE_VERSION, "ok": True, "result": result}))
        return
    already = "" if report else f"pearrt {state.name(state.runs)} is installed already. "
    sys.stderr.write(f"{already}Start it as {start}, or put that folder on your PATH.\n")


def _tell(error: PearrtError, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"pearrt": ENVELOPE_VERSION, "ok": False, "error": error.as_dict()}))
        return
    sys.stderr.write(f"error: {_printable(error.message)}\n")
    if error.hint:
        sys.stderr.write(f"  try: {_printable(error.hint)}\n")


def _printable(text: str) -> str:
    """Names from outside may hold terminal escapes."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)

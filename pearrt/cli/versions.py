"""`pearrt versions`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pearrt import __version__
from pearrt.cli.options import open_daemon
from pearrt.cli.output import Output, ago, printable, speaking

if TYPE_CHECKING:
    from pearrt.runtime.layout import RuntimeFolder


@speaking(name="versions")
def command(output: Output) -> None:
    """Show pearrt's own versions on this machine.

    Which one runs, which one it could go back to, which one is on trial, and which ones failed and why. A
    pearrt that pip or a package installed has no versions of its own here: that brings the next one.
    """
    found = versions()
    output.result(found, lambda: "\n".join(_lines(found)))


def versions() -> dict[str, Any]:
    """From the daemon where one runs, else from the state file, so that it works when no daemon starts."""
    from pearrt.runtime.layout import RuntimeFolder, running
    from pearrt.runtime.report import versions as report

    daemon = open_daemon()
    if daemon.running():
        return daemon.runtime() | {"running": daemon.status()["version"]}
    data, folder = daemon.home.data, RuntimeFolder(daemon.home.data)
    state = folder.read()
    found = report(state, running(data), folder.crashes(state))
    return found | {"waits": "", "revoked": "", "running": None}


def _lines(found: dict[str, Any]) -> list[str]:
    from pearrt.runtime.report import troubles

    lines = []
    if not found["self_updating"]:
        lines.append(f"pearrt {__version__}, installed by pip or a package, which also updates it.")
    for version in found["versions"]:
        reason = f"  {printable(version['reason'])}" if version["reason"] else ""
        lines.append(
            f"{version['standing']:<9}{printable(version['version']):<14}{version['digest'][:12]}{reason}"
        )
    if found["running"]:
        lines.append(f"The daemon runs {printable(found['running'])}.")
    if found["waits"]:
        lines.append(printable(found["waits"]))
    return [*lines, *map(printable, troubles(found)), *policy_lines(found)]


def own_folder(output: Output) -> RuntimeFolder:
    """The state to change. Says so where that does not concern the pearrt that speaks."""
    from pearrt.runtime.layout import RuntimeFolder, running

    data = open_daemon().home.data
    if not running(data):
        output.say(f"This is pearrt {__version__} as pip or a package installed it: only that updates it.")
    return RuntimeFolder(data)


def policy_lines(found: dict[str, Any]) -> list[str]:
    """What `pearrt pin` and `pearrt update --defer` left, in words."""
    lines = []
    if found["pin"]:
        lines.append(f"Pinned to {printable(found['pin'])}: no other version comes.")
    if found["channel"]:
        lines.append(f"Follows the channel {printable(found['channel'])}.")
    if found["delay_s"]:
        lines.append(f"Takes releases that are {ago(found['delay_s'])} old; security releases at once.")
    if found["deferred_until"] > time.time():
        lines.append(f"Updates are put off for {ago(found['deferred_until'] - time.time())} more.")
    return lines

"""`pearrt doctor`."""

from __future__ import annotations

from pearrt.cli.output import Output, printable, speaking
from pearrt.errors import PearrtError

CONTAINED = "AB"  # tiers that hold a hostile app


@speaking(name="doctor")
def command(output: Output) -> int:
    """Say what this machine can contain, and how to mend what it cannot.

    Each layer of the sandbox is tried, not guessed, and then a hostile app tries them all. The exit code is 0
    only where it is contained (tiers A and B). Where pearrt updates itself, a version that failed is named.
    """
    from pearrt.sandbox.service import examined

    report, own = examined(), _own_versions()
    output.result(report.as_dict() | {"runtime": own}, lambda: "\n".join([report.describe(), *own]))
    return 0 if report.tier in CONTAINED else 1


def _own_versions() -> list[str]:
    """What is wrong with pearrt's own versions; nothing where pip or a package brought it."""
    from pearrt.paths import Home
    from pearrt.runtime.layout import RuntimeFolder, running
    from pearrt.runtime.report import last_failure, troubles, versions

    folder = RuntimeFolder(Home.from_environment().data)
    if not (own := running(folder.data)):
        return []
    try:
        state = folder.read()
    except PearrtError as e:
        return [e.message]
    found = versions(state, own, folder.crashes(state))
    return [printable(line) for line in (*last_failure(found), *troubles(found))]

"""`pearrt doctor`."""

from __future__ import annotations

from pearrt.cli.output import Output, speaking

CONTAINED = "AB"  # tiers that hold a hostile app


@speaking(name="doctor")
def command(output: Output) -> int:
    """Say what this machine can contain, and how to mend what it cannot.

    Each layer of the sandbox is tried, not guessed, and then a hostile app tries them all. The exit code is 0
    only where it is contained (tiers A and B).
    """
    from pearrt.sandbox.service import examined

    report = examined()
    output.result(report.as_dict(), report.describe)
    return 0 if report.tier in CONTAINED else 1

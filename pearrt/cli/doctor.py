"""`pearrt doctor`."""

from __future__ import annotations

from pearrt.cli.output import Output, speaking

CONTAINED = "AB"  # tiers that hold a hostile app


@speaking(name="doctor")
def command(output: Output) -> int:
    """Say what this machine can contain, and how to mend what it cannot.

    Each layer of the sandbox is tried, not guessed. The exit code is 0 only where a hostile app is contained.
    """
    from pearrt.sandbox.service import probe

    report = probe(fresh=True)
    output.result(report.as_dict(), report.describe)
    return 0 if report.tier in CONTAINED else 1

"""The sandbox as others use it: `run` an app, `probe` the machine.

`run` refuses where `probe` finds nothing that contains. There is no other way to start a fetched app.
"""

from __future__ import annotations

from pathlib import Path

from pearrt.errors import Denied, SandboxError, Unsupported
from pearrt.sandbox import host as hosts
from pearrt.sandbox import kinds
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.probe import forget, probe
from pearrt.sandbox.report import Report, Tier

__all__ = [
    "Launch",
    "Report",
    "Tier",
    "examined",
    "prepare",
    "probe",
    "refusal",
    "run",
    "run_own_code",
    "run_unsandboxed",
]


def run(launch: Launch, *, runtime: Path | None = None) -> int:
    """Runs the app in this terminal until it ends; gives its exit code, 128 + n for signal n.

    `runtime` is where the probe's outcome is cached. Raises Unsupported where this machine cannot contain the
    app, SandboxError where the sandbox could not be set up.
    """
    if kinds.contained_by_engine(launch.manifest, hosts.system()):
        from pearrt.sandbox.engine_run import EngineSandbox

        return EngineSandbox(launch).run()  # which tries its bounds at each start
    report = probe(runtime=runtime)
    if not report.tier.contains:
        raise refusal(report)
    if fault := kinds.fault(launch.manifest, launch.permissions, report.tier):
        raise fault
    try:
        if hosts.system() == "darwin":
            from pearrt.sandbox.macos_run import MacSandbox

            return MacSandbox(launch, report.held).run()
        from pearrt.sandbox.process import Sandbox, with_compiled

        return Sandbox(with_compiled(launch), report.held).run()
    except SandboxError as e:
        if not isinstance(e, Denied):
            forget(runtime=runtime)  # the machine is not what it was when it was probed
        raise


def prepare(launch: Launch, *, runtime: Path | None = None) -> bool:
    """Compiles the release's modules into `launch.bytecode`, inside the sandbox and without running any of
    them, so that every later start finds them. Gives whether they are there now; a start without them is only
    slower.
    """
    if hosts.system() != "linux" or not kinds.has_python(launch.manifest):
        return False
    from pearrt.sandbox.bytecode import compile_release

    report = probe(runtime=runtime)
    return report.tier.contains and compile_release(launch, report.held)


def examined(*, runtime: Path | None = None) -> Report:
    """What a person is told who asks: probed anew, and challenged by a hostile app."""
    report = probe(runtime=runtime, fresh=True)
    if not report.tier.contains or "self-test" in report.held:
        return report  # macOS is challenged by every probe, and Windows tries its engine by each
    from pearrt.sandbox.challenge import challenge

    return challenge(report)


def refusal(report: Report) -> Unsupported:
    """Why nothing is run on such a machine, and what to do about it."""
    missing = next((layer for layer in report.missing if layer.fix), None)
    what = f"{missing.name}: {missing.detail}" if missing else "no layer holds"
    return Unsupported(f"This machine cannot contain an app ({what}).", hint=missing.fix if missing else "")


def run_own_code(launch: Launch) -> int:
    """NO SANDBOX AT ALL, for a folder that belongs to the person who runs it: they can start what is in it
    anyway. Raises Denied for somebody else's, Unsupported for a kind that needs more than an interpreter.
    """
    import os
    import sys

    from pearrt.sandbox.uncontained import run_in_the_open

    if sys.platform == "win32":
        raise Unsupported(
            "Nothing is run without a sandbox here: on Windows it is not known whose a folder is."
        )
    if os.stat(launch.folder).st_uid != os.geteuid():
        raise Denied("Nothing but your own folder is run without the sandbox.")
    if launch.manifest.kind != "python":
        raise Unsupported(
            f"An app of kind {launch.manifest.kind} is run in the sandbox only.",
            hint="Leave --no-sandbox out.",
        )
    return run_in_the_open(launch)


def run_unsandboxed(launch: Launch, *, runtime: Path | None = None) -> int:
    """NO SANDBOX AT ALL: the app has every right that the person has.

    For the one app that `pearrt demo` makes and signs itself, on a machine without any tier; the demo says so
    loudly. Raises Denied where this machine could have contained it.
    """
    from pearrt.sandbox.uncontained import run_in_the_open

    if probe(runtime=runtime).tier.contains:
        raise Denied("This machine has a sandbox: nothing is run without it.")
    return run_in_the_open(launch)

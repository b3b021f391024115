"""Apps on macOS: `sandbox-exec` with the profile of `macos.py`. A shell of the sandbox room.

Never run on a Mac by those who wrote it. So nothing is taken on trust: `examine` starts the hostile app of
`challenge.py` in it first, and where anything gets through, or anything is not as expected, the machine is
tier E and nothing is started.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from pearrt.errors import SandboxError, Unsupported
from pearrt.sandbox import host as hosts
from pearrt.sandbox import layout, macos
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.layout import Task
from pearrt.sandbox.process import prepare_data
from pearrt.sandbox.report import Layer, Report, Tier
from pearrt.sandbox.storage import Meter

POLL_S = 0.2
_START = (
    "import functools, importlib, importlib.util, resource, runpy, sys, types\n"
    "folder, paths, sdk, module, function, file, limit, *rest = sys.argv[1:]\n"
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))\n"
    "sys.path[:0] = [folder if p == '.' else folder + '/' + p for p in paths.split(':')]\n"
    "if importlib.util.find_spec('pearrt') is None:\n"
    "    sys.modules['pearrt'] = types.ModuleType('pearrt')\n"
    "    sys.modules['pearrt'].__path__ = [sdk]\n"  # a namespace, as inside on Linux
    "sys.argv[:] = [module or file, *rest]\n"
    "if file: runpy.run_path(folder + '/' + file, run_name='__main__')\n"
    "elif not function: runpy.run_module(module, run_name='__main__', alter_sys=True)\n"
    "else: sys.exit(functools.reduce(getattr, function.split('.'), importlib.import_module(module))())\n"
)


class MacSandbox:
    """As `process.Sandbox`, with the one layer that macOS has."""

    def __init__(
        self,
        launch: Launch,
        layers: Collection[str],
        task: Task = Task.RUN,
        *,
        output: int | None = None,
        timeout_s: float | None = None,
    ) -> None:
        if launch.manifest.kind not in ("python", "web"):
            raise Unsupported(f"Apps of kind {launch.manifest.kind} are not run on macOS by this version.")
        resolved = (Path(os.path.realpath(launch.folder)), Path(os.path.realpath(launch.data)))
        self.launch = replace(launch, folder=resolved[0], data=resolved[1])
        self.output = output
        self.timeout_s = timeout_s

    def run(self) -> int:
        """Starts, waits, gives the exit code. Raises Denied for too much storage, SandboxError for too
        long."""
        launch = self.launch
        prepare_data(launch.data, layout.Identity(os.getuid(), 0))
        meter = Meter(launch.data, launch.permissions.storage_bytes)
        with tempfile.TemporaryDirectory(prefix="pearrt-tmp-") as made:
            temporary = os.path.realpath(made)
            given = [fd for fd in (launch.channel_fd, launch.ui_fd) if fd is not None]
            process = subprocess.Popen(
                self._command(temporary),
                env=self._environment(temporary),
                cwd=launch.data,
                pass_fds=given,
                stdin=subprocess.DEVNULL if self.output is not None else None,
                stdout=self.output,
                stderr=self.output,
            )
            try:
                return self._wait(process, meter)
            finally:
                process.kill()
                process.wait()

    def _command(self, temporary: str) -> list[str]:
        launch, host = self.launch, hosts.inspect()
        entry = launch.manifest.backend or launch.manifest.entry
        policy = macos.profile(
            interpreter=host.interpreter,
            readable=(os.path.realpath(sys.base_prefix), str(launch.folder), host.sdk),
            writable=(str(launch.data), temporary),
        )
        return [
            macos.EXECUTABLE, "-p", policy, host.interpreter, "-I", "-S", "-B", "-c", _START,
            str(launch.folder), ":".join(launch.manifest.path), os.path.dirname(host.sdk),
            entry.module, entry.function, entry.file, str(launch.permissions.storage_bytes),
            *entry.arguments, *launch.argv,
        ]  # fmt: skip

    def _environment(self, temporary: str) -> dict[str, str]:
        """The same names as on Linux, with this machine's paths."""
        launch = self.launch
        env = layout.environment(hosts.inspect(), launch, os.environ)
        paths = [str(launch.folder / folder) for folder in launch.manifest.path]
        env |= {"HOME": str(launch.data), "PEARRT_DATA": str(launch.data), "TMPDIR": temporary}
        env |= {"PYTHONPATH": os.pathsep.join(paths)}
        for name, fd in (("PEARRT_CHANNEL_FD", launch.channel_fd), ("PEARRT_UI_FD", launch.ui_fd)):
            env |= {name: str(fd)} if name in env else {}
        if "PEARRT_PAGE_FD" in env:
            env["PEARRT_PAGE_FD"] = str(launch.ui_fd)
        return env

    def _wait(self, process: subprocess.Popen[bytes], meter: Meter) -> int:
        deadline = None if self.timeout_s is None else time.monotonic() + self.timeout_s
        while True:
            try:
                code = process.wait(POLL_S)
                return code if code >= 0 else 128 - code
            except subprocess.TimeoutExpired:
                if meter.over():
                    raise meter.refusal() from None
                if deadline is not None and time.monotonic() > deadline:
                    raise SandboxError(
                        f"The app was stopped: it did not end within {self.timeout_s} s."
                    ) from None


def examine() -> Report:
    """One layer, and whether it holds a hostile app. Never above tier C."""
    from pearrt.sandbox.challenge import challenge

    if not os.access(macos.EXECUTABLE, os.X_OK):
        missing = Layer(
            "sandbox-exec", False, f"{macos.EXECUTABLE} is not there", "Update macOS, or use Linux."
        )
        return Report(Tier.E, (missing,))
    found = Report(
        Tier.C, (Layer("sandbox-exec", True, "deny by default, one layer; not tried by its makers"),)
    )
    return challenge(found, MacSandbox)

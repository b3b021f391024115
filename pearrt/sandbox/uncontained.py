"""An app as a plain process with all of the person's rights: no sandbox. Only `service.run_unsandboxed` (the
demo's own app) and `service.run_own_code` (the person's own folder) come here.
"""

from __future__ import annotations

import os
import subprocess

from pearrt.sandbox import host as hosts
from pearrt.sandbox.launch import Launch

_PEARRT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def run_in_the_open(launch: Launch) -> int:
    """The app as a plain process with the person's rights."""
    launch.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder, entry = launch.folder, launch.manifest.entry
    paths = [str(folder / path) for path in launch.manifest.path]
    start = (
        "import functools, importlib, importlib.util, runpy, sys, types\n"
        "module, function, file, *rest = sys.argv[1:]\n"
        f"sys.path[:0] = {paths!r}\n"
        "if importlib.util.find_spec('pearrt') is None:\n"  # `pearrt.sdk`, which a sandbox brings
        "    sys.modules['pearrt'] = types.ModuleType('pearrt')\n"
        f"    sys.modules['pearrt'].__path__ = [{_PEARRT!r}]\n"
        "sys.argv[:] = [module or file, *rest]\n"
        "if file: runpy.run_path(file, run_name='__main__')\n"
        "elif not function: runpy.run_module(module, run_name='__main__', alter_sys=True)\n"
        "else: sys.exit(functools.reduce(getattr, function.split('.'), importlib.import_module(module))())\n"
    )
    file = str(folder / entry.file) if entry.file else ""
    command = [hosts.inspect().interpreter, "-I", "-S", "-B", "-c", start, entry.module, entry.function, file]
    env = {**os.environ, "PEARRT_DATA": str(launch.data), **launch.env}
    fds: list[int] = []
    if launch.channel_fd is not None:
        env["PEARRT_CHANNEL_FD"] = str(launch.channel_fd)
        fds = [launch.channel_fd]
    code = subprocess.run(
        [*command, *entry.arguments, *launch.argv], env=env, pass_fds=fds, check=False
    ).returncode
    return code if code >= 0 else 128 - code

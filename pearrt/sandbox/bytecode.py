"""The compiled modules of a release, made once, inside the sandbox: a shell of the sandbox room.

The release itself is never written to, so an interpreter would compile it anew at every start. The compiler
reads hostile source: it runs inside as well, and its results are used only by the same release of the same
app. It runs before the person was asked, so it has a share of its own and not what the app asks for: some
hundred bytes of source can compile to gigabytes (a `finally` is compiled twice, and so are those in it).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from pearrt.errors import SandboxError
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.layout import Task
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.process import Sandbox, identity, of_this_interpreter, prepare_data
from pearrt.sandbox.storage import used_bytes

COMPILE_TIMEOUT_S = 300.0
SHARE = Permissions(storage_bytes=512 << 20, memory_bytes=1 << 30, processors=1, processes=16)


def compile_release(launch: Launch, layers: Collection[str]) -> bool:
    """`service.prepare`. The folder appears by rename, whole or not at all, and belongs to the person
    again.
    """
    if launch.bytecode is None:
        return False
    done = of_this_interpreter(launch.bytecode)
    if done.exists():
        return True
    done.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=done.parent) as work, open(os.devnull, "w") as quiet:
        made, data = Path(work, "made"), Path(work, "data")
        who = identity(launch.app_key)
        prepare_data(made, who)
        task = replace(launch, bytecode=made, data=data, channel_fd=None, permissions=SHARE)
        try:
            Sandbox(task, layers, Task.COMPILE, output=quiet.fileno(), timeout_s=COMPILE_TIMEOUT_S).run()
            if used_bytes(made) > SHARE.storage_bytes:  # taken faster than it was measured
                return False
            if who.outside_uid:
                os.chown(made, 0, 0)
            made.chmod(0o755)
            made.rename(done)
        except (SandboxError, OSError):
            return done.exists()
    return True

"""The challenge: a hostile app in the real sandbox, against real targets. A shell of the sandbox room.

The examination finds which layers can be made; this finds whether they hold an app that means it. It takes a
moment, so it is the doctor's, not every probe's.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import SandboxError
from pearrt.sandbox import hostile
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.layout import APP, Task
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.process import Sandbox
from pearrt.sandbox.report import Layer, Report, Tier

if TYPE_CHECKING:
    from pearrt.sandbox.macos_run import MacSandbox

TIMEOUT_S = 60.0
_FIX = "This is a flaw of pearrt or of this kernel: report it, with `pearrt doctor --json`."


def challenge(report: Report, sandbox: type[Sandbox] | type[MacSandbox] | None = None) -> Report:
    """The report with a layer `self-test`; tier E where anything at all got through. `sandbox` is what starts
    the hostile app (default: Linux's).
    """
    if not report.tier.contains:
        return report
    try:
        opened, tried = _try(report, sandbox or Sandbox)
    except (SandboxError, OSError, ValueError) as e:
        opened, tried = [f"it could not be tried: {e}"], 0
    held = not opened and tried == len(hostile.attempts({}))  # fewer answers are a failure too
    said = (
        f"a hostile app tried {tried} things, none worked" if held else f"open: {', '.join(opened) or tried}"
    )
    layer = Layer("self-test", held, said[:300], "" if held else _FIX)
    return Report(report.tier if held else Tier.E, (*report.layers, layer))


def _try(report: Report, sandbox: type[Sandbox] | type[MacSandbox]) -> tuple[list[str], int]:
    """What got through, and how many attempts there were."""
    token = f"pearrt-{secrets.token_hex(12)}"
    with contextlib.ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="pearrt-challenge-")))
        folder.chmod(0o711)  # the app has a uid of its own where root starts it
        app, said = folder / "app", parts.enter_context(open(folder / "said", "w+b"))
        app.mkdir()
        app.chmod(0o755)
        (app / "main.py").write_bytes(Path(hostile.__file__).read_bytes())
        (app / "main.py").chmod(0o644)
        (folder / "secret").write_text(token)
        (folder / "secret").chmod(0o644)
        leaked = os.open(folder / "secret", os.O_RDONLY)
        parts.callback(os.close, leaked)
        os.set_inheritable(leaked, True)
        targets = {"token": token, "secret": str(folder / "secret"), "launcher": os.getpid()}
        targets["app"] = APP if sys.platform == "linux" else os.path.realpath(app)
        targets |= {"socket": str(folder / "socket"), "port": _listen(parts, folder / "socket", token)}
        manifest = Manifest("hostile", "1", Entry(file="main.py"))
        launch = Launch(bytes(32), manifest, app, folder / "data", Permissions(), argv=(json.dumps(targets),))
        sandbox(launch, report.held, Task.RUN, output=said.fileno(), timeout_s=TIMEOUT_S).run()
        said.seek(0)
        lines = said.read(65536).decode(errors="replace").splitlines()
    results = [line.partition(" ") for line in lines if line.startswith(("open ", "refused "))]
    return [name for verdict, _, name in results if verdict == "open"], len(results)


def _listen(parts: contextlib.ExitStack, path: Path, token: str) -> int:
    """Sockets that an app of the open would reach; gives the TCP port."""
    for address in (str(path), *([f"\0{token}"] if sys.platform == "linux" else [])):
        listener = parts.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(address)
        listener.listen(4)
    path.chmod(0o777)
    return int(parts.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1])

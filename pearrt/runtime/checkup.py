"""The health check from outside: a version's own tree examines itself in a process of its own, before
anything is switched.

What it does in there is `pearrt/daemon/checkup.py` of *that* version. It passes by ending with 0; whatever
else happens — another exit code, a signal, no end in time — is a fault, told in the last line it wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from pearrt.peer.bodies import Address
from pearrt.runtime.layout import RuntimeFolder, command

CHECKUP = "pearrt.daemon.checkup"
CHECKUP_TIMEOUT_S = 60.0
MAX_OUTPUT_BYTES = 64 * 1024


async def fault_of(folder: RuntimeFolder, digest: str, peer: Address, environ: Mapping[str, str]) -> str:
    """What is wrong with an unpacked version, in words; "" where it is healthy. `peer`: where the running
    daemon listens, for the check to find."""
    host, port = peer
    try:
        process = await asyncio.create_subprocess_exec(
            *command(folder.data, digest, [host, str(port)], module=CHECKUP),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environ),
            cwd="/",
            start_new_session=True,
        )
    except OSError as e:
        return f"its health check does not start: {e.strerror or e}"
    try:
        async with asyncio.timeout(CHECKUP_TIMEOUT_S):
            said = await _read(process)
            code = await process.wait()
    except TimeoutError:
        return f"its health check did not end in {CHECKUP_TIMEOUT_S:.0f} s"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if code == 0:
        return ""
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"its health check failed ({ended}): {_last_line(said)}"


async def _read(process: asyncio.subprocess.Process) -> bytes:
    """The end of what it writes, however much that is."""
    assert process.stderr is not None
    said = b""
    while part := await process.stderr.read(MAX_OUTPUT_BYTES):
        said = (said + part)[-MAX_OUTPUT_BYTES:]
    return said


def _last_line(said: bytes) -> str:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    text = lines[-1] if lines else "it said nothing"
    return "".join(letter if letter.isprintable() else "�" for letter in text)[:300]

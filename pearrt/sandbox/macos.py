"""The profile for macOS: a deny-by-default policy in the language of `sandbox-exec`. Pure.

    may read      the system's libraries, the interpreter's prefix, the release
    may write     the app's private storage and a temporary folder of its own
    may start     the interpreter and /bin/sh
    may signal    processes of its own sandbox
    may not       everything else: no network, no other file's content, no Mach service, no Apple event, no
                  request to a device such as the terminal (so no raw mode either)

`sandbox-exec` and this language are deprecated and not documented by Apple; the kernel enforces them all the
same. NEVER RUN ON A MAC by those who wrote it: the profile is held by tests of its text, and `macos_run`
starts no app on a machine where a hostile one gets anything through it. Weaker than Linux in any case: one
layer, no limit on memory or processes in total, the person's own user id, paths of the machine visible. Hence
tier C at best.
"""

from __future__ import annotations

from collections.abc import Sequence

from pearrt.errors import SandboxError

EXECUTABLE = "/usr/bin/sandbox-exec"
SYSTEM_PATHS = (
    "/System/Library",
    "/System/Volumes/Preboot/Cryptexes/OS",
    "/usr/lib",
    "/usr/share/locale",
    "/usr/share/zoneinfo",
    "/private/var/db/timezone",
)
SHELL = "/bin/sh"
_READ_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/autofs_nowait")
_WRITE_DEVICES = ("/dev/null", "/dev/zero", "/dev/tty")
_SYSCTLS = (
    "hw.activecpu", "hw.byteorder", "hw.cachelinesize", "hw.logicalcpu", "hw.logicalcpu_max", "hw.memsize",
    "hw.ncpu", "hw.pagesize", "hw.pagesize_compat", "hw.physicalcpu", "kern.argmax", "kern.osrelease",
    "kern.ostype", "kern.osversion", "kern.version", "kern.usrstack64",
)  # fmt: skip


def quoted(path: str) -> str:
    """A path as a string of the profile's language. Raises SandboxError for one that cannot be written."""
    if not path.startswith("/") or any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        raise SandboxError(f"{ascii(path)[:80]} cannot be named in a sandbox profile.")
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def profile(*, interpreter: str, readable: Sequence[str], writable: Sequence[str]) -> str:
    """The policy. All paths are absolute with links resolved: the kernel compares resolved ones.

    `readable` are the release and the interpreter's folders, `writable` the storage and a temporary folder.
    """
    lines = ["(version 1)", "(deny default)"]
    lines += [f"(allow process-exec (literal {quoted(path)}))" for path in (interpreter, SHELL)]
    lines += [
        "(allow process-fork)",
        "(allow signal (target same-sandbox))",
        "(allow process-info* (target self))",
    ]
    lines += [f"(allow sysctl-read (sysctl-name {quoted_name(name)}))" for name in _SYSCTLS]
    shown = [*SYSTEM_PATHS, *readable, *writable]
    lines += [f"(allow file-read* (subpath {quoted(path)}))" for path in shown]
    lines += [f"(allow file-map-executable (subpath {quoted(path)}))" for path in (*SYSTEM_PATHS, *readable)]
    lines += [f"(allow file-read* (literal {quoted(path)}))" for path in (interpreter, SHELL, *_READ_DEVICES)]
    above = sorted({path for shown_path in shown for path in parents(shown_path)})
    lines += [f"(allow file-read-metadata (literal {quoted(path)}))" for path in above]
    lines += [f"(allow file-write* (subpath {quoted(path)}))" for path in writable]
    lines += [f"(allow file-write-data (literal {quoted(path)}))" for path in _WRITE_DEVICES]
    # No file-ioctl: it would let an app set the terminal's mode, and as well type into it (TIOCSTI).
    lines += ["(deny file-write-setugid)", "(deny network*)"]
    return "\n".join(lines) + "\n"


def quoted_name(name: str) -> str:
    return f'"{name}"'


def parents(path: str) -> list[str]:
    """Every folder above a path, the root included: looking one up asks for each of them."""
    return ["/", *(path[:cut] for cut in range(1, len(path)) if path[cut] == "/")]

"""What of this machine an app gets to see: one interpreter and the system's libraries. Looks at the disk,
changes nothing."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import lru_cache

from pearrt.errors import Unsupported

BUBBLEWRAP_PLACES = ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap")
_LIBRARY_FOLDERS = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib32",
    "/usr/libx32",
    "/lib",
    "/lib64",
    "/lib32",
    "/libx32",
)
_PUBLIC_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo", "/usr/share/terminfo")
# Of the machine as a whole, and nobody's business inside: keys, when the keyboard was used, timers, memory.
_MASKED = tuple(
    f"/proc/{name}"
    for name in ("interrupts", "kcore", "key-users", "keys", "latency_stats", "sched_debug", "timer_list")
)
_TAKEN = ("/app", "/data", "/proc", "/dev", "/engine", "/sdk")


@dataclass(frozen=True, slots=True)
class Host:
    """Paths of this machine, links resolved. `links` are (target, path) pairs to make again inside; `hidden`
    are folders inside `shown` ones that hold the machine's other Python packages; `uids` is how many user ids
    exist, from 0 on; `sdk` is the folder of `pearrt.sdk`; `masked` are files of `/proc` that stay closed."""

    machine: str
    bubblewrap: str | None
    interpreter: str
    shown: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    hidden: tuple[str, ...]
    uids: int = 1 << 32
    fault: str = ""
    sdk: str = ""
    masked: tuple[str, ...] = ()


def system() -> str:
    """Which system this is, as `sys.platform` says it."""
    return sys.platform


def base_interpreter() -> str:
    """The interpreter that a virtual environment's only leads to: on Windows that one is a program which
    starts this one."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def wasmtime_folder() -> str:
    """Where this interpreter finds wasmtime. It is not imported here. Raises Unsupported."""
    from importlib.util import find_spec

    spec = find_spec("wasmtime")
    if spec is None or not spec.submodule_search_locations:
        raise Unsupported(
            "Apps of kind wasi need wasmtime, and this Python has none.",
            hint=f"{sys.executable} -m pip install 'pearrt[wasi]'",
        )
    return os.path.realpath(spec.submodule_search_locations[0])


@lru_cache(maxsize=1)
def inspect() -> Host:
    """This machine and the base interpreter of the running one."""
    interpreter = os.path.realpath(base_interpreter())
    prefix = os.path.realpath(sys.base_prefix)
    shown, links = _libraries()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder in ("lib", "lib64"):
        path = f"{prefix}/{folder}"
        if os.path.isdir(path) and not os.path.islink(path) and path not in shown:
            shown.append(path)
    shown.append(interpreter)
    bin_folder, name = os.path.split(interpreter)
    links += [(name, f"{bin_folder}/{alias}") for alias in ("python3", "python") if alias != name]
    shell = os.path.realpath("/bin/sh")
    if os.access(shell, os.X_OK):
        shown.append(shell)
        if shell != "/usr/bin/sh":
            links.append((shell, "/usr/bin/sh"))
    if os.path.islink("/bin"):
        links.append(("usr/bin", "/bin"))
    elif shell != "/bin/sh":
        links.append((shell, "/bin/sh"))
    shown += [path for path in _PUBLIC_FILES if os.path.exists(path)]
    hidden = [f"{prefix}/{lib}/{version}/site-packages" for lib in ("lib", "lib64")] + [
        "/usr/lib/python3/dist-packages",
        "/usr/lib/pearrt",
    ]
    return Host(
        machine=os.uname().machine,
        bubblewrap=next((path for path in BUBBLEWRAP_PLACES if os.access(path, os.X_OK)), None),
        interpreter=interpreter,
        shown=tuple(dict.fromkeys(shown)),
        links=tuple(dict.fromkeys(links)),
        hidden=tuple(path for path in hidden if os.path.isdir(path) and _inside(path, shown)),
        uids=_user_ids(),
        sdk=_sdk_folder(),
        masked=tuple(path for path in _MASKED if os.path.exists(path)),
        fault=f"Python lies under {prefix}" if prefix.startswith(tuple(f"{t}/" for t in _TAKEN)) else "",
    )


def _sdk_folder() -> str:
    """Beside this package; not imported, as the app does that."""
    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "sdk")
    return folder if os.path.isdir(folder) else ""


def _user_ids() -> int:
    try:
        with open("/proc/self/uid_map", encoding="ascii") as lines:
            first, _, number = (int(word) for word in lines.readline().split())
    except (OSError, ValueError):
        return 0
    return number if first == 0 else 0


def _libraries() -> tuple[list[str], list[tuple[str, str]]]:
    shown: list[str] = []
    links: list[tuple[str, str]] = []
    for path in _LIBRARY_FOLDERS:
        if os.path.islink(path):
            links.append((os.readlink(path), path))
        elif os.path.isdir(path):
            shown.append(path)
    return shown, links


def _inside(path: str, folders: list[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)

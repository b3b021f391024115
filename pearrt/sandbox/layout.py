"""The world inside: mounts, environment and the settings of the shim, from a launch and a machine. Pure.

/app                read-only   the unpacked release
/sdk                read-only   `pearrt.sdk`, and nothing else of pearrt
/data               writable    the app's private storage, HOME, the working directory
/tmp, /dev/shm      writable    memory, sized, gone at the end
/proc, /dev         fresh       own processes only; null zero full random urandom tty pts
/usr/lib … prefix   read-only   system libraries, the interpreter, /bin/sh, time zones, terminal descriptions
all else            absent      the root is an empty memory file system, read-only before the app starts
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pearrt.errors import Unsupported, UserError
from pearrt.sandbox.host import Host
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.policy import Permissions

APP, DATA, BYTECODE, SDK = "/app", "/data", "/bytecode", "/sdk"
SDK_PACKAGE = f"{SDK}/pearrt/sdk"  # `pearrt` above it has no code: a namespace
CHANNEL_FD, UI_FD = 3, 4
ENGINE = "/engine"  # where a `wasi` app's interpreter finds wasmtime
SHIM_NAME = "<pearrt>"
READY, FAILED, GO = b"+", b"-", b"!"  # between the shim and the launcher
HOSTNAME = "pearrt"
FIRST_PROCESS = "/proc/1"  # bubblewrap's own, which closed fewer doors than the app has: out of its reach
USER = "app"
INSIDE_UID = 1000
TMP_BYTES = 256 << 20
SHARED_MEMORY_BYTES = 256 << 20
OPEN_FILES = 1024
QUEUED_SIGNALS = 1024  # of a queue that all processes of a user share
WASI_ENGINE_BYTES = 256 << 20  # wasmtime's own: it compiles the module at each start
WASI_FUEL = 1 << 43  # instructions of one run, some hours; a program without end ends there
# systemd's UIDS-GIDS.md leaves 0x70000000-0x7FFFFFFF to nobody: one stable uid per app when started as root.
FIRST_APP_UID, APP_UIDS = 0x70000000, 0x08000000
FEW_UIDS = (40_000, 20_000)  # first and number, in a container with the usual 65,536

_PASSED_ON = ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TZ")
_HARMLESS = re.compile(r"[A-Za-z0-9_+./,:@-]{1,64}")
_EXTRA_NAME = re.compile(r"PEARRT_APP_[A-Z0-9_]{1,40}")
# include/uapi/asm-generic/resource.h
_LIMIT_DATA, _LIMIT_FILE_SIZE, _LIMIT_CORE, _LIMIT_PROCESSES, _LIMIT_FILES = 2, 1, 4, 6, 7
_LIMIT_LOCKED, _LIMIT_SPACE, _LIMIT_SIGNALS, _LIMIT_QUEUED = 8, 9, 11, 12


class Task(StrEnum):
    """What the shim does once the doors are closed."""

    RUN = "run"
    PROBE = "probe"  # nothing
    COMPILE = "compile"  # compiles the app's modules into /bytecode, without running any of them


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the app is. `outside_uid` is 0 where a user namespace hides the person's own uid behind
    `inside_uid`."""

    inside_uid: int
    outside_uid: int


def identity_of(app_key: bytes, *, as_root: bool, uids: int = 1 << 32) -> Identity:
    """Started by root: a uid of the app's own, derived from its key. Else the person's uid, seen as 1000
    inside. `uids` is how many there are: fewer in a container, where two apps may then share one.

    Raises Unsupported where root has no other uid than its own.
    """
    if not as_root:
        return Identity(INSIDE_UID, 0)
    first, number = (FIRST_APP_UID, APP_UIDS) if uids > FIRST_APP_UID + APP_UIDS else FEW_UIDS
    if uids < first + number:
        raise Unsupported(
            "Root has no unprivileged user id to run an app under.",
            hint="Start this container with 65536 user ids, or run pearrt as a plain user.",
        )
    drawn = int.from_bytes(hashlib.sha256(b"pearrt-app-uid-v1\0" + app_key).digest()[:4], "big")
    uid = first + drawn % number
    return Identity(uid, uid)


def bubblewrap_arguments(
    host: Host,
    launch: Launch,
    who: Identity,
    *,
    no_new_namespaces: bool,
    file_fds: Mapping[str, int],
    filter_fd: int,
    task: Task,
    engine: str = "",
) -> list[str]:
    """bubblewrap's options. `file_fds` maps paths inside to descriptors of their content, `filter_fd` holds
    the wider system call filter, `engine` is the folder of wasmtime, "" where it is not needed."""
    options = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    options += ["--hostname", HOSTNAME, "--die-with-parent", "--seccomp", str(filter_fd)]
    if who.outside_uid:
        options += ["--cap-drop", "ALL"]
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):  # for the shim to give up the rest
            options += ["--cap-add", capability]
    else:
        options += ["--unshare-user", "--uid", str(who.inside_uid), "--gid", str(who.inside_uid)]
        options += ["--disable-userns"] if no_new_namespaces else []
    options += ["--proc", "/proc", "--dev", "/dev"]
    for path, size in (("/dev/shm", SHARED_MEMORY_BYTES), ("/tmp", TMP_BYTES)):  # noqa: S108 - inside
        options += ["--perms", "1777", "--size", str(size), "--tmpfs", path]
    made = [*host.shown, *(path for _, path in host.links), *file_fds]
    made += [f"{ENGINE}/wasmtime"] if engine else []
    made += [SDK_PACKAGE] if host.sdk else []
    for path in _parents(made):
        options += ["--perms", "0755", "--dir", path]  # bubblewrap alone would make them 0700
    for path in host.shown:
        options += ["--ro-bind", path, path]
    for path in host.hidden:
        options += ["--perms", "0555", "--size", "4096", "--tmpfs", path, "--remount-ro", path]
    for target, path in host.links:
        options += ["--symlink", target, path]
    options += ["--tmpfs", FIRST_PROCESS, "--remount-ro", FIRST_PROCESS]
    for path in host.masked:
        options += ["--ro-bind", "/dev/null", path]  # a device where none may be opened: refused
    for path, fd in file_fds.items():
        options += ["--perms", "0444", "--ro-bind-data", str(fd), path]
    options += ["--ro-bind", str(launch.folder), APP, "--bind", str(launch.data), DATA]
    if host.sdk:
        options += ["--ro-bind", host.sdk, SDK_PACKAGE]
    if engine:
        options += ["--ro-bind", engine, f"{ENGINE}/wasmtime"]
    if launch.bytecode is not None:
        bind = "--bind" if task is Task.COMPILE else "--ro-bind-try"
        options += [bind, str(launch.bytecode), BYTECODE]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def _parents(paths: Iterable[str]) -> list[str]:
    """Every folder above one of `paths`, parents first, without the root; none that is itself shown."""
    given = tuple(paths)
    below = tuple(f"{path}/" for path in given)
    found = {path[:cut] for path in given for cut in range(1, len(path)) if path[cut] == "/"}
    return sorted(folder for folder in found - set(given) if not folder.startswith(below))


def etc_files(who: Identity) -> dict[str, bytes]:
    """The two files of /etc that programs ask for their own name."""
    uid = who.inside_uid
    return {
        "/etc/passwd": f"{USER}:x:{uid}:{uid}::{DATA}:/bin/sh\n".encode(),
        "/etc/group": f"{USER}:x:{uid}:\n".encode(),
    }


def environment(host: Host, launch: Launch, outside: Mapping[str, str]) -> dict[str, str]:
    """All that the app finds in its environment. Raises UserError for an extra that is not PEARRT_APP_…"""
    bin_folder = host.interpreter.rpartition("/")[0]
    env = {
        "PATH": ":".join(dict.fromkeys((bin_folder, "/usr/bin", "/bin"))),
        "HOME": DATA,
        "USER": USER,
        "LOGNAME": USER,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108 - inside
        "PEARRT_DATA": DATA,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": ":".join(search_path(launch)),  # for the interpreters that the app starts itself
        "MALLOC_ARENA_MAX": "2",
    }
    if launch.manifest.kind in ("exec", "wasi"):
        env = {name: value for name, value in env.items() if not name.startswith("PYTHON")}
    if launch.channel_fd is not None:
        env["PEARRT_CHANNEL_FD"] = str(CHANNEL_FD)
    if launch.ui_fd is not None:
        env["PEARRT_PAGE_FD" if launch.manifest.kind == "web" else "PEARRT_UI_FD"] = str(UI_FD)
    return env | _passed_on(launch, outside)


def guest_environment(launch: Launch, outside: Mapping[str, str]) -> dict[str, str]:
    """All that a `wasi` app finds where there is no world around it but its two folders. Raises as
    `environment`."""
    fixed = {"HOME": DATA, "PEARRT_DATA": DATA, "LANG": "C.UTF-8", "USER": USER, "LOGNAME": USER}
    return fixed | _passed_on(launch, outside)


def _passed_on(launch: Launch, outside: Mapping[str, str]) -> dict[str, str]:
    """What is harmless of the person's environment, and what the launch adds."""
    env = {name: outside[name] for name in _PASSED_ON if _HARMLESS.fullmatch(outside.get(name, ""))}
    for name, value in launch.env.items():
        if not _EXTRA_NAME.fullmatch(name) or "\0" in value:
            raise UserError(f"{ascii(name)[:60]} cannot be passed into the sandbox.")
        env[name] = value
    return env


def search_path(launch: Launch) -> list[str]:
    """The bundle's folders on `sys.path`, in order, then the SDK; nothing of the machine's."""
    return [*(APP if folder == "." else f"{APP}/{folder}" for folder in launch.manifest.path), SDK]


def landlock_rules(host: Host, task: Task) -> list[tuple[str, str]]:
    """(path inside, kind of access); `/` itself is not among them."""
    rules = [(path, "run") for path in host.shown] + [(APP, "run"), ("/etc", "read"), ("/proc", "read")]
    rules += [(ENGINE, "read"), (SDK, "read")]  # where there is one
    writable = [(path, "write") for path in (DATA, "/tmp", "/dev/shm")]  # noqa: S108 - inside
    return [*rules, *writable, ("/dev", "device"), (BYTECODE, "write" if task is Task.COMPILE else "read")]


def limits(permissions: Permissions, kind: str = "python") -> list[tuple[int, int]]:
    """rlimits. A core limit of 1 also keeps a machine's crash collector away, where 0 would not (core(5)).

    `wasi`: the engine reserves addresses for its guard pages, and has memory of its own to compile in; the
    guest's is bounded by the engine (`guest_bytes`).
    """
    engine = WASI_ENGINE_BYTES if kind == "wasi" else 0
    return [
        (_LIMIT_CORE, 1),
        (_LIMIT_DATA, permissions.memory_bytes + engine),
        (_LIMIT_SPACE, permissions.memory_bytes * 2 + (4 << 30) + engine * 32),
        (_LIMIT_FILE_SIZE, permissions.storage_bytes),
        (_LIMIT_PROCESSES, permissions.processes),
        (_LIMIT_FILES, OPEN_FILES),
        (_LIMIT_LOCKED, 8 << 20),
        (_LIMIT_SIGNALS, QUEUED_SIGNALS),
        (_LIMIT_QUEUED, 0),
    ]


def shim_settings(
    host: Host,
    launch: Launch,
    who: Identity,
    *,
    call_filter: bytes,
    landlock: bool,
    status_fd: int,
    signals: list[int],
    task: Task,
    terminal: int | None,
) -> dict[str, Any]:
    """What `shim.main` reads; plain values that `marshal` can carry. `terminal` is one of the standard
    descriptors that are the app's own terminal, None where it has none."""
    manifest = launch.manifest
    entry = manifest.backend or manifest.entry
    return {
        "uid": who.outside_uid,
        "gid": who.outside_uid,
        "kind": manifest.kind,
        "limits": limits(launch.permissions, manifest.kind),
        "landlock": landlock_rules(host, task) if landlock else [],
        "filter": call_filter,
        "status_fd": status_fd,
        "terminal": terminal,
        "fds": {CHANNEL_FD: launch.channel_fd, UI_FD: launch.ui_fd},
        "signals": signals,
        "ready": READY,
        "failed": FAILED,
        "go": GO,
        "folder": APP,
        "home": DATA,
        "path": search_path(launch),
        "bytecode": BYTECODE if launch.bytecode is not None else "",
        "processors": launch.permissions.processors,
        "argv": [launch.manifest.name, *entry.arguments, *launch.argv],
        "entry": {"module": entry.module, "function": entry.function, "file": entry.file},
        "engine": ENGINE,
        "fuel": WASI_FUEL,
        "guest_bytes": launch.permissions.memory_bytes,
        "task": str(task),
    }

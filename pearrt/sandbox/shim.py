"""The first code inside: it closes the last doors, checks that they are closed, then becomes the app.

Run by `python -I -S -B` inside bubblewrap's empty root with a dict of settings (`layout.shim_settings`).
Order, and nothing may be moved before what it depends on:

    group        one of its own; in the foreground of the app's own terminal, where it has one
    descriptors  all but 0, 1, 2, the status pipe and the channel are closed
    uid          as root: groups, gid and uid are given up for good
    limits       rlimits
    landlock     files outside the listed folders, TCP, abstract sockets and signals out of the sandbox
    dumpable     no core dump, /proc/self closed to others
    seccomp      the allowlist; needs no_new_privs, which bubblewrap has set
    self-test    every bar is tried; one that does not hold ends it here
    status       one byte says ready, one byte back says go; a launcher that is gone means the end

Standard library only, and as little of it as will do: each import costs every start. Nothing of pearrt's is
importable in here.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import stat
import sys

TYPE_CHECKING = False  # `typing` costs a start milliseconds, and so does `signal`, which builds enums
if TYPE_CHECKING:
    import signal
    from typing import Any, NoReturn
else:
    import _signal as signal

SETUP_EXIT_CODE = 125

_PR_SET_DUMPABLE, _PR_GET_SECCOMP, _PR_SET_SECCOMP, _PR_GET_NO_NEW_PRIVS = 4, 21, 22, 39
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 24, 47
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_CLONE_NEWUSER = 0x10000000
_MS_BIND = 4096
_AF_INET, _SOCK_STREAM, _SOL_SOCKET, _SO_TYPE = 2, 1, 1, 3

# struct landlock_ruleset_attr: access rights that each ABI version knows (include/uapi/linux/landlock.h).
_FS_BITS_OF_ABI = (0, 13, 14, 15, 15, 16)  # index: ABI; the last holds for all later ones
_NET_ABI, _SCOPE_ABI = 4, 6
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_IOCTL_DEVICE = 1 << 15
_TRUNCATE = 1 << 14
_MAKE_CHARACTER, _MAKE_SOCKET, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_READ = _READ_FILE | _READ_DIR
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
RIGHTS = {
    "read": _READ,
    "run": _READ | _EXECUTE,
    "device": _READ | _WRITE_FILE | _IOCTL_DEVICE,
    "write": 0xFFFF & ~(_EXECUTE | _IOCTL_DEVICE | _MAKE_CHARACTER | _MAKE_SOCKET | _MAKE_BLOCK),
}

_libc = ctypes.CDLL(None, use_errno=True)


class SetupFailed(Exception):
    """A door that would not close; the text is for the person, without anything of the app's in it."""


def close_doors(settings: dict[str, Any]) -> None:
    """Applies every layer in order and tries them. Raises SetupFailed or OSError."""
    _lead_a_group(settings["terminal"])
    _whitelist_descriptors(settings)
    if settings["uid"]:
        _empty_bounding_set()
        os.setgroups([])
        os.setresgid(settings["gid"], settings["gid"], settings["gid"])
        os.setresuid(settings["uid"], settings["uid"], settings["uid"])
    _drop_capabilities()
    os.chdir(settings["home"])
    os.environ["PWD"] = settings["home"]
    _share_processors(settings["processors"])
    for number, limit in settings["limits"]:
        _limit(number, limit)
    abi = _restrict_files(settings["landlock"]) if settings["landlock"] else 0
    if not os.access(settings["folder"], os.R_OK | os.X_OK):
        raise SetupFailed("the release's folder is closed to the user that the app runs as")
    _prctl(_PR_SET_DUMPABLE, 0)
    _filter_calls(settings["filter"])
    _self_test(settings, abi)


def _lead_a_group(terminal: int | None) -> None:
    """Ctrl-C and Ctrl-Z are for this group; its parent, process 1, is of another in the same session. From
    the background this is allowed, as SIGTTOU is blocked."""
    os.setpgid(0, 0)
    if terminal is not None:
        os.tcsetpgrp(terminal, os.getpid())


def _whitelist_descriptors(settings: dict[str, Any]) -> None:
    """Leaves 0, 1, 2, the status pipe, and under their known numbers what the app is given (`fds`)."""
    given = {number: fd for number, fd in settings["fds"].items() if fd is not None}
    above = max(given, default=2) + 1  # first out of each other's way, then to their places
    given = {number: fcntl.fcntl(fd, fcntl.F_DUPFD, above) for number, fd in given.items()}
    settings["status_fd"] = fcntl.fcntl(settings["status_fd"], fcntl.F_DUPFD, above)
    for number, fd in given.items():
        os.dup2(fd, number, inheritable=True)
    keep = {0, 1, 2, *given, settings["status_fd"]}
    os.set_inheritable(settings["status_fd"], False)
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd not in keep:
            try:
                os.close(fd)
            except OSError:
                continue  # the one that listed the folder
    for fd in range(3):
        _neutralise(fd)


def _neutralise(fd: int) -> None:
    """A closed standard descriptor, or one that leads out (a folder, a socket that is no connected stream),
    becomes /dev/null."""
    try:
        mode = os.fstat(fd).st_mode
        bad = stat.S_ISDIR(mode) or (stat.S_ISSOCK(mode) and not _is_connected_stream(fd))
    except OSError:
        bad = True
    if bad:
        null = os.open("/dev/null", os.O_RDWR)
        if null != fd:
            os.dup2(null, fd, inheritable=True)
            os.close(null)
        else:
            os.set_inheritable(fd, True)


def _empty_bounding_set() -> None:
    with open("/proc/sys/kernel/cap_last_cap", "rb") as last:
        for capability in range(int(last.read()) + 1):
            _prctl(_PR_CAPBSET_DROP, capability)


def _drop_capabilities() -> None:
    """Empties all sets of capset(2); what bubblewrap left inheritable or ambient goes with them."""
    _prctl(_PR_CAP_AMBIENT, 4)
    header = (0x20080522).to_bytes(4, sys.byteorder) + bytes(4)
    if _libc.capset(header, bytes(24)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _share_processors(number: int) -> None:
    """Leaves the app that many processors, drawn at random so that apps do not all get the same ones."""
    available = sorted(os.sched_getaffinity(0))
    if number < len(available):
        first = int.from_bytes(os.urandom(4), "big") % len(available)
        os.sched_setaffinity(0, {(available * 2)[first + i] for i in range(number)})


def _is_connected_stream(fd: int) -> bool:
    """Anything else could be listened on, or sent from to an address."""
    kind, size = ctypes.c_int(), ctypes.c_uint(4)
    _libc.getsockopt(fd, _SOL_SOCKET, _SO_TYPE, ctypes.byref(kind), ctypes.byref(size))
    name, length = ctypes.create_string_buffer(128), ctypes.c_uint(128)
    return kind.value == _SOCK_STREAM and _libc.getpeername(fd, name, ctypes.byref(length)) == 0


def _limit(number: int, limit: int) -> None:
    _, hard = resource.getrlimit(number)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(number, (limit, limit))


def _prctl(option: int, *arguments: Any) -> int:
    padded = [*arguments, 0, 0, 0, 0][:4]
    words = [
        a if isinstance(a, ctypes.Structure | ctypes._SimpleCData) else ctypes.c_ulong(a) for a in padded
    ]
    result: int = _libc.prctl(option, *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")
    return result


def _syscall(number: int, *arguments: Any) -> int:
    call = _libc.syscall
    call.restype = ctypes.c_long
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = call(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


def landlock_abi() -> int:
    """The kernel's Landlock ABI version, 0 where there is none."""
    try:
        return _syscall(_CREATE_RULESET, None, 0, 1)
    except OSError:
        return 0


def _restrict_files(rules: list[tuple[str, str]]) -> int:
    """Landlock with all rights this kernel knows handled, so that what no rule gives is refused. Gives the
    ABI."""
    abi = landlock_abi()
    if abi < 1:
        raise SetupFailed("Landlock went missing between the probe and this start")
    handled = (1 << _FS_BITS_OF_ABI[min(abi, len(_FS_BITS_OF_ABI) - 1)]) - 1
    attributes = [handled, 3 if abi >= _NET_ABI else 0, 3 if abi >= _SCOPE_ABI else 0]
    size = 24 if abi >= _SCOPE_ABI else 16 if abi >= _NET_ABI else 8
    packed = b"".join(word.to_bytes(8, sys.byteorder) for word in attributes)[:size]
    ruleset = _syscall(_CREATE_RULESET, packed, size, 0)
    for path, kind in rules:
        _add_rule(ruleset, path, RIGHTS[kind] & handled)
    _syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return abi


def _add_rule(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        rights &= _FILE_RIGHTS
    packed = rights.to_bytes(8, sys.byteorder) + fd.to_bytes(4, sys.byteorder)
    try:
        _syscall(_ADD_RULE, ruleset, 1, packed, 0)
    finally:
        os.close(fd)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _filter_calls(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.addressof(buffer))
    _prctl(_PR_SET_SECCOMP, 2, ctypes.c_void_p(ctypes.addressof(header)))


def _self_test(settings: dict[str, Any], abi: int) -> None:
    """Tries every bar from inside. Raises SetupFailed for the first that does not hold."""
    if _prctl(_PR_GET_NO_NEW_PRIVS) != 1 or _prctl(_PR_GET_SECCOMP) != 2:
        raise SetupFailed("the system call filter is not in force")
    if 0 in (*os.getresuid(), *os.getresgid()):
        raise SetupFailed("still root")
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Cap") and int(line.split()[1], 16):
                raise SetupFailed("capabilities are left")
    if os.getppid() != 1:
        raise SetupFailed("the process namespace is not the sandbox's own")
    with open("/proc/self/net/dev", "rb") as devices:
        if [line.split(b":")[0].strip() for line in devices.readlines()[2:]] not in ([], [b"lo"]):
            raise SetupFailed("network devices are visible")
    _check_terminal(settings["terminal"])
    _must_fail("a socket could be made", _libc.socket, _AF_INET, _SOCK_STREAM, 0)
    _must_fail("a namespace could be made", _libc.unshare, _CLONE_NEWUSER)
    _must_fail("a file system could be mounted", _libc.mount, b"/data", b"/app", None, _MS_BIND, None)
    _must_be_read_only(("/", settings["folder"]))
    if abi:
        try:
            os.listdir("/")
        except OSError as e:
            if e.errno == errno.EACCES:
                return
        raise SetupFailed("Landlock is not in force")


def _check_terminal(own: int | None) -> None:
    """The session's terminal is the app's own, and without one it has none."""
    if os.getsid(0) != 0 or os.getpgrp() != os.getpid():
        raise SetupFailed("the session is not the sandbox's own")  # its leader is seen from outside only
    if own is not None:
        if os.tcgetpgrp(own) != os.getpid():
            raise SetupFailed("the terminal is not the app's own")
        return
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as e:
        if e.errno == errno.ENXIO and not any(map(os.isatty, range(3))):
            return
    raise SetupFailed("a terminal leads out")


def _must_fail(what: str, call: Any, *arguments: Any) -> None:
    if call(*arguments) >= 0 or ctypes.get_errno() != errno.EPERM:
        raise SetupFailed(what)


def _must_be_read_only(folders: tuple[str, ...]) -> None:
    for folder in folders:
        try:
            os.close(os.open(f"{folder}/.pearrt-self-test", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
        except OSError as e:
            if e.errno in (errno.EROFS, errno.EACCES):
                continue
        raise SetupFailed(f"{folder} can be written to")


def _report(settings: dict[str, Any], message: bytes) -> None:
    """Tells the launcher and waits for its word; when it is gone, so is the reason to go on."""
    fd = settings["status_fd"]
    try:
        if os.write(fd, message) != len(message) or os.read(fd, 1) != settings["go"]:
            os._exit(SETUP_EXIT_CODE)
        os.close(fd)
    except OSError:
        os._exit(SETUP_EXIT_CODE)


def _prepare_interpreter(settings: dict[str, Any]) -> None:
    sys.path[:0] = settings["path"]
    sys.argv[:] = settings["argv"]
    sys.excepthook = _show_error
    sys.orig_argv[:] = [sys.executable, *settings["argv"]]
    if settings["bytecode"]:
        _find_bytecode(settings["folder"], settings["bytecode"])
    vars(__import__("builtins")).update(exit=sys.exit, quit=sys.exit)  # what `site` would have added


def _find_bytecode(folder: str, bytecode: str) -> None:
    """Lets imports from the release look there for compiled modules. `sys.pycache_prefix` would do so for the
    standard library as well, and miss its own."""
    import _frozen_importlib_external as importer

    standard = importer.cache_from_source

    def cache_from_source(path: Any, *arguments: Any, **options: Any) -> str:
        cached: str = standard(path, *arguments, **options)
        above, found, name = cached.rpartition("/__pycache__/")
        return f"{bytecode}{above}/{name}" if found and cached.startswith(f"{folder}/") else cached

    importer.cache_from_source = cache_from_source


def _show_error(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    """As Python does, from the app's own first frame on."""
    own = ("<string>", _show_error.__code__.co_filename)  # `-c`, which started the shim, and the shim
    while traceback is not None and traceback.tb_frame.f_code.co_filename in own:
        traceback = traceback.tb_next
    sys.__excepthook__(kind, error.with_traceback(traceback), traceback)


def _compile(settings: dict[str, Any]) -> None:
    """Compiles the app's modules; what has a syntax error is left to the app. The result holds whatever the
    files' times say: a release never changes."""
    import compileall
    from py_compile import PycInvalidationMode

    sys.pycache_prefix = settings["bytecode"]
    compileall.compile_dir(
        settings["folder"],
        maxlevels=64,
        quiet=2,
        force=True,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )


def _main_module(settings: dict[str, Any]) -> Any:
    """A fresh `__main__`, so that nothing of the shim's is left in the app's globals."""
    module = type(sys)("__main__")
    vars(module)["__builtins__"] = __import__("builtins")
    sys.modules["__main__"] = module
    return module


def _run_module(name: str, module: Any) -> None:
    """As `python -m name` does, without importing runpy."""
    from importlib.util import find_spec

    spec = find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = find_spec(f"{name}.__main__")
    loader: Any = spec.loader if spec is not None else None
    code = loader.get_code(spec.name) if spec is not None and hasattr(loader, "get_code") else None
    if spec is None or code is None:
        raise SystemExit(f"The app has no module {name!r} to run.")
    sys.argv[0] = spec.origin or name
    vars(module).update(
        __spec__=spec,
        __loader__=spec.loader,
        __file__=spec.origin,
        __cached__=spec.cached,
        __package__=spec.parent,
    )
    exec(code, vars(module))  # noqa: S102


def _run_file(path: str, module: Any) -> None:
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    vars(module).update(__file__=path, __package__=None, __spec__=None)
    exec(code, vars(module))  # noqa: S102


def _run_function(module_name: str, dotted: str) -> None:
    from importlib import import_module

    target: Any = import_module(module_name)
    for part in dotted.split("."):
        target = getattr(target, part)
    sys.exit(target())


def main(settings: dict[str, Any]) -> None:
    """Closes the doors, says ready, runs the app in this process."""
    try:
        close_doors(settings)
    except (SetupFailed, OSError) as e:
        _fail(settings, f"{e}" if isinstance(e, SetupFailed) else f"{type(e).__name__}: {e}")
    _report(settings, settings["ready"])
    for number in settings["signals"]:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if settings["task"] == "run":
        _run(settings)
    elif settings["task"] == "compile":
        _compile(settings)


def _run(settings: dict[str, Any]) -> None:
    if settings["kind"] == "exec":
        _execute(settings)
    if settings["kind"] == "wasi":
        _run_guest(settings)
    _prepare_interpreter(settings)
    module, entry = _main_module(settings), settings["entry"]
    if entry["file"]:
        _run_file(f"{settings['folder']}/{entry['file']}", module)
    elif entry["function"]:
        _run_function(entry["module"], entry["function"])
    else:
        _run_module(entry["module"], module)


def _execute(settings: dict[str, Any]) -> NoReturn:
    """Becomes the app's own program; what holds this process holds that one."""
    program = f"{settings['folder']}/{settings['entry']['file']}"
    try:
        os.execv(program, settings["argv"])  # noqa: S606
    except OSError as e:
        raise SystemExit(f"The app's program does not start: {e.strerror}.") from None


def _run_guest(settings: dict[str, Any]) -> NoReturn:
    """A WebAssembly module; `wasi.py` came with the settings, compiled."""
    runner: dict[str, Any] = {"__name__": "wasi"}
    exec(settings["runner"], runner)  # noqa: S102
    sys.path[:0] = [settings["engine"]]
    sys.exit(runner["run"](settings))


def _fail(settings: dict[str, Any], text: str) -> NoReturn:
    _report(settings, settings["failed"] + text.encode(errors="replace")[:500])
    os._exit(SETUP_EXIT_CODE)

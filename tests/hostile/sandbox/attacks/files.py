# ruff: noqa: SIM115 - an attack ends with its process
"""Files: reading what is the person's, writing what is not the app's, programs that may not run."""

from __future__ import annotations

import ctypes
import os
import stat
import sys

from attacks.harness import attack, checked, libc, refuse, syscall


@attack
def read_a_secret_by_path(t: dict) -> object:
    return open(t["secret"]).read()


@attack
def read_a_secret_by_dots(t: dict) -> object:
    return open("../" * 30 + t["secret"]).read()


@attack
def read_a_secret_through_proc_root(t: dict) -> object:
    for pid in ("self", "1", str(os.getppid()), str(t["victim"])):
        try:
            return open(f"/proc/{pid}/root{t['secret']}").read()
        except OSError as e:
            error = e
    raise error


@attack
def read_a_secret_through_a_symlink(t: dict) -> object:
    link = os.path.join(t["data"], "link")
    os.symlink(t["secret"], link)
    try:
        return open(link).read()
    finally:
        os.unlink(link)


@attack
def read_the_password_file(t: dict) -> object:
    return open("/etc/shadow").read()[:10]


@attack
def find_a_home_folder(t: dict) -> object:
    return [
        name for name in ("/root", "/home", "/etc/ssh", "/var", "/run", "/work", "/mnt") if os.listdir(name)
    ]


@attack
def read_environments_of_others(t: dict) -> object:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if t["token"].encode() in open(f"/proc/{pid}/environ", "rb").read():
                return pid
        except OSError:
            continue
    raise PermissionError("none readable with the token in it")


@attack
def find_a_secret_in_the_environment(t: dict) -> object:
    return next(name for name, value in os.environ.items() if t["token"] in value)


@attack
def read_a_leaked_descriptor(t: dict) -> object:
    for fd in range(3, 256):
        try:
            if t["token"].encode() in os.pread(fd, 4096, 0):
                return fd
        except OSError:
            continue
    raise PermissionError("no such descriptor")


@attack
def climb_out_of_a_leaked_folder(t: dict) -> object:
    for fd in range(256):
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode) and fd != t.get("own"):
                return os.open("../" * 20 + t["secret"], os.O_RDONLY, dir_fd=fd)
        except OSError:
            continue
    raise PermissionError("no such descriptor")


@attack
def write_into_the_app(t: dict) -> object:
    path = os.path.join(t["app"], "planted.py")
    open(path, "w").close()
    os.unlink(path)
    return path


@attack
def change_modes_in_the_app(t: dict) -> object:
    path = os.path.join(t["app"], "start.py")
    mode = stat.S_IMODE(os.stat(path).st_mode)
    os.chmod(path, mode ^ 0o100)
    os.chmod(path, mode)
    return oct(mode)


@attack
def touch_the_app(t: dict) -> object:
    os.utime(os.path.join(t["app"], "start.py"))
    return "touched"


@attack
def create_files_all_over(t: dict) -> object:
    made = []
    for folder in ("/", "/usr", "/usr/lib", "/etc", "/dev", "/dev/pts", "/proc", sys.prefix, "/app"):
        path = os.path.join(folder, f".attack-{os.getpid()}")
        try:
            open(path, "x").close()
        except OSError as e:
            error = e
            continue
        made.append(path)
        os.unlink(path)
    if not made:
        raise error
    return made


@attack
def write_kernel_settings(t: dict) -> object:
    """Opened for writing, never written."""
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches"):
        try:
            os.close(os.open(path, os.O_WRONLY))
        except OSError as e:
            error = e
            continue
        return path
    raise error


@attack
def make_a_device(t: dict) -> object:
    path = os.path.join(t["data"], "device")
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(254, 0))
    os.unlink(path)
    return path


@attack
def open_a_disk(t: dict) -> object:
    disks = [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith(("vd", "sd", "nvme", "loop"))]
    return os.open(disks[0], os.O_RDONLY)


@attack
def open_by_handle(t: dict) -> object:
    handle = (ctypes.c_uint32 * 64)(128)
    mount_id = ctypes.c_int()
    checked(libc.name_to_handle_at(-100, b"/", handle, ctypes.byref(mount_id), 0))
    return checked(libc.open_by_handle_at(os.open(t["data"], os.O_RDONLY), handle, os.O_RDONLY))


@attack
def leave_through_chroot(t: dict) -> object:
    os.chroot(t["data"])
    return "chrooted"


@attack
def execute_from_the_data_folder(t: dict) -> object:
    path = os.path.join(t["data"], "program")
    with open(path, "wb") as f:
        f.write(open(os.path.realpath("/bin/sh"), "rb").read())
    os.chmod(path, 0o700)
    code = os.spawnv(os.P_WAIT, path, [path, "-c", "exit 42"])
    os.unlink(path)
    if code != 42:
        raise PermissionError(f"exit code {code}")
    return "ran"


@attack
def execute_from_memory(t: dict) -> object:
    fd = syscall("memfd_create", b"x", 0)
    os.write(fd, open(os.path.realpath("/bin/sh"), "rb").read())
    return os.spawnv(os.P_WAIT, f"/proc/self/fd/{fd}", ["sh", "-c", "exit 42"]) == 42 or refuse("not run")


@attack
def run_a_set_user_id_program(t: dict) -> object:
    for name in ("su", "passwd", "mount", "sudo", "newgrp"):
        for folder in ("/usr/bin", "/bin"):
            path = f"{folder}/{name}"
            if os.path.exists(path) and os.stat(path).st_mode & stat.S_ISUID:
                return os.spawnv(os.P_WAIT, path, [name, "--version"]) == 0 or refuse(f"{path} did not run")
    raise FileNotFoundError("none to be seen")


@attack
def link_a_file_of_the_machine(t: dict) -> object:
    """A hard link into one's own folder keeps a file that the machine replaces."""
    path = os.path.join(t["data"], "kept")
    os.link(t["secret"], path)
    os.unlink(path)
    return path


@attack
def name_a_file_of_the_machine_by_its_attributes(t: dict) -> object:
    path = os.path.join(t["data"], "labelled")
    open(path, "w").close()
    os.setxattr(path, "user.pearrt", b"x")
    return "labelled"


@attack
def watch_what_the_person_does(t: dict) -> object:
    fd = checked(libc.inotify_init1(0))
    return checked(libc.inotify_add_watch(fd, os.path.dirname(t["secret"]).encode(), 0xFFF))


@attack
def find_where_the_machine_is_mounted(t: dict) -> object:
    """The disk's own mounts: a path that leads out would show up here."""
    mounts = [line.split()[1] for line in open("/proc/self/mounts")]
    return [m for m in mounts if m.startswith(("/sys", "/run", "/var"))] or refuse("none")

# ruff: noqa: SIM115 - an attack ends with its process
"""Watching: what the person does, from what the machine shows to everybody."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal

from attacks.harness import attack, checked, libc, refuse

LIBRARY = os.path.dirname(os.__file__)  # as good as any folder of programs that both sides see
F_SETLEASE, F_NOTIFY, DN_ACCESS, DN_MULTISHOT = 1024, 1026, 1, 0x80000000


@attack
def watch_which_programs_and_libraries_are_used(t: dict) -> object:
    """Events are the file's, whoever opens it: the same file outside is the person's."""
    fd = checked(libc.inotify_init1(0))
    checked(libc.inotify_add_watch(fd, LIBRARY.encode(), 0x20))  # IN_OPEN
    open(os.__file__).close()
    return os.read(fd, 4096)[16:] if select.select([fd], [], [], 2)[0] else refuse("nothing heard")


@attack
def be_told_when_a_folder_is_read(t: dict) -> object:
    folder = os.open(LIBRARY, os.O_RDONLY)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    fcntl.fcntl(folder, F_NOTIFY, DN_ACCESS | DN_MULTISHOT)
    open(os.__file__).read(16)
    return signal.sigtimedwait({signal.SIGIO}, 2) or refuse("nothing heard")


@attack
def hold_up_whoever_opens_a_file(t: dict) -> object:
    """A lease on what the person let it save makes their next program wait for it."""
    path = os.path.join(t["data"], "leased")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.unlink(path)
    return fcntl.fcntl(fd, F_SETLEASE, fcntl.F_WRLCK) == 0


@attack
def list_the_persons_keys_of_the_kernel(t: dict) -> object:
    return open("/proc/keys").read() or refuse("none")


@attack
def time_what_the_person_types(t: dict) -> object:
    """The counters of the keyboard's interrupts."""
    return open("/proc/interrupts").read() or refuse("empty")


@attack
def read_the_machines_timers(t: dict) -> object:
    return open("/proc/timer_list").read(64) or refuse("empty")


@attack
def read_the_kernels_own_memory(t: dict) -> object:
    return os.open("/proc/kcore", os.O_RDONLY)


@attack
def write_the_file_that_it_was_given_to_read(t: dict) -> object:
    """Standard input, opened anew."""
    return os.open("/proc/self/fd/0", os.O_WRONLY)


@attack
def read_memory_of_the_first_process(t: dict) -> object:
    """Which closed fewer doors than the app did."""
    first = 1 if t["data"] == "/data" else os.getppid()
    fd = os.open(f"/proc/{first}/mem", os.O_RDWR)
    start = int(open(f"/proc/{first}/maps").readline().split("-")[0], 16)
    return os.pread(fd, 4, start)


@attack
def run_a_filter_of_ones_own_in_the_kernel(t: dict) -> object:
    """Classic BPF on a socket is compiled by the kernel, as any other."""
    import socket

    ours, _theirs = socket.socketpair()
    program = (ctypes.c_uint64 * 1)(0x0000FFFF_00000006)  # return 65535
    header = bytes((ctypes.c_uint64 * 2)(1, ctypes.addressof(program)))
    ours.setsockopt(socket.SOL_SOCKET, 26, header)  # SO_ATTACH_FILTER
    return "attached"


@attack
def send_urgent_data(t: dict) -> object:
    """MSG_OOB on a Unix stream: little used, and a way out of other sandboxes (CVE-2025-38236)."""
    import socket

    ours, _theirs = socket.socketpair()
    return ours.send(b"x", socket.MSG_OOB)


@attack
def send_urgent_data_by_message(t: dict) -> object:
    import socket

    ours, _theirs = socket.socketpair()
    return ours.sendmsg([b"x"], (), socket.MSG_OOB)

"""The kernel's doors: namespaces, mounts, and calls that few programs need."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal

from attacks.harness import MACHINE, NEWUSER, attack, checked, libc, refuse, syscall


@attack
def unshare_a_user_namespace(t: dict) -> object:
    return syscall("unshare", NEWUSER)


@attack
def clone_into_a_user_namespace(t: dict) -> object:
    pid = syscall("clone", NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


@attack
def clone3_into_a_user_namespace(t: dict) -> object:
    arguments = (ctypes.c_uint64 * 8)(NEWUSER, 0, 0, 0, signal.SIGCHLD)
    pid = syscall("clone3", arguments, 64)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


@attack
def mount_a_file_system(t: dict) -> object:
    checked(libc.mount(b"none", t["data"].encode(), b"tmpfs", 0, None))
    checked(libc.umount2(t["data"].encode(), 2))
    return "mounted"


@attack
def mount_by_the_new_calls(t: dict) -> object:
    return syscall("fsopen", b"tmpfs", 0)


@attack
def clone_a_mount_tree(t: dict) -> object:
    return syscall("open_tree", -100, t["data"].encode(), 1)  # OPEN_TREE_CLONE


@attack
def use_io_uring(t: dict) -> object:
    return syscall("io_uring_setup", 1, ctypes.create_string_buffer(120))


@attack
def use_the_keyring(t: dict) -> object:
    return syscall("add_key", b"user", b"x", b"y", 1, -1)


@attack
def use_bpf(t: dict) -> object:
    attributes = (ctypes.c_uint32 * 32)(2, 4, 4, 1)  # BPF_MAP_TYPE_ARRAY
    return syscall("bpf", 0, attributes, 128)


@attack
def use_perf_events(t: dict) -> object:
    attributes = (ctypes.c_uint32 * 32)(1, 128)
    return syscall("perf_event_open", attributes, 0, -1, -1, 0)


@attack
def use_userfaultfd(t: dict) -> object:
    return syscall("userfaultfd", 1)


@attack
def use_fanotify(t: dict) -> object:
    return syscall("fanotify_init", 0x200, 0)


@attack
def compare_processes(t: dict) -> object:
    return syscall("kcmp", os.getpid(), os.getpid(), 0, 0, 0)


@attack
def make_hidden_memory(t: dict) -> object:
    return syscall("memfd_secret", 0)


@attack
def make_unmetered_shared_memory(t: dict) -> object:
    return syscall("shmget", 0, 1 << 20, 0o600)


@attack
def turn_off_address_randomisation(t: dict) -> object:
    return syscall("personality", 0x0040000)


@attack
def change_the_host_name(t: dict) -> object:
    name = os.uname().nodename.encode()
    return checked(libc.sethostname(name, len(name))) == 0


@attack
def call_by_x32(t: dict) -> object:
    if MACHINE != "x86_64":
        raise NotImplementedError
    return checked(libc.syscall(0x40000000 | 39))


@attack
def call_by_int_80(t: dict) -> object:
    if MACHINE != "x86_64":
        raise NotImplementedError
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid() or refuse("another number")


@attack
def make_a_message_queue(t: dict) -> object:
    name = b"pearrt-attack"
    fd = syscall("mq_open", name, os.O_CREAT | os.O_RDWR, 0o600, None)
    os.close(fd)
    libc.mq_unlink(b"/" + name)
    return fd


@attack
def read_the_kernels_log(t: dict) -> object:
    return checked(libc.klogctl(10, None, 0))  # SYSLOG_ACTION_SIZE_BUFFER


@attack
def change_segments(t: dict) -> object:
    if MACHINE != "x86_64":
        raise NotImplementedError
    return checked(libc.syscall(154, 0, ctypes.create_string_buffer(64), 64))  # modify_ldt, read


@attack
def reach_hardware_ports(t: dict) -> object:
    if MACHINE != "x86_64":
        raise NotImplementedError
    return checked(libc.ioperm(0x80, 1, 1)) == 0


@attack
def move_memory_between_nodes(t: dict) -> object:
    return checked(libc.syscall(238 if MACHINE == "x86_64" else 237, 0, None, 0)) == 0  # set_mempolicy


@attack
def judge_calls_of_ones_own(t: dict) -> object:
    """A filter with a listener takes calls out of the kernel's hands."""
    checked(libc.prctl(38, 1, 0, 0, 0))
    program = (ctypes.c_uint64 * 1)(0x7FFF0000_00000006)  # return ALLOW
    header = (ctypes.c_uint64 * 2)(1, ctypes.addressof(program))
    return syscall("seccomp", 1, 8, header)  # SET_MODE_FILTER, NEW_LISTENER


@attack
def duplicate_pipes_without_copying(t: dict) -> object:
    reader, writer = os.pipe()
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    return checked(libc.vmsplice(writer, vector, 1, 0)) and reader

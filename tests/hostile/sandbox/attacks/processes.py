# ruff: noqa: SIM115 - an attack ends with its process
"""Processes: seeing, signalling, tracing and limiting others, gaining rights."""

from __future__ import annotations

import ctypes
import os

from attacks.harness import attack, checked, libc, refuse, syscall


@attack
def see_other_processes(t: dict) -> object:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if t["marker"].encode() in open(f"/proc/{pid}/cmdline", "rb").read() and int(pid) != os.getpid():
            return pid
    raise ProcessLookupError("not visible")


@attack
def signal_another_process(t: dict) -> object:
    os.kill(t["victim"], 0)
    return "could"


@attack
def signal_the_process_group(t: dict) -> object:
    os.kill(0, 0)
    return "could"


@attack
def freeze_another_process(t: dict) -> object:
    pid = t["victim"]
    checked(libc.ptrace(0x4206, pid, None, None))  # PTRACE_SEIZE
    libc.ptrace(17, pid, None, None)
    return "seized"


@attack
def be_traced(t: dict) -> object:
    return checked(libc.ptrace(0, 0, None, None)) == 0


@attack
def read_memory_of_another_process(t: dict) -> object:
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    start = int(open(f"/proc/{t['victim']}/maps").readline().split("-")[0], 16)
    remote = (ctypes.c_void_p * 2)(start, 8)
    return syscall("process_vm_readv", t["victim"], local, 1, remote, 1, 0)


@attack
def read_memory_of_oneself_by_call(t: dict) -> object:
    buffer, target = ctypes.create_string_buffer(8), ctypes.create_string_buffer(b"12345678")
    local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_void_p * 2)(ctypes.addressof(target), 8)
    return syscall("process_vm_readv", os.getpid(), local, 1, remote, 1, 0)


@attack
def take_a_descriptor_of_another_process(t: dict) -> object:
    pidfd = os.pidfd_open(t["victim"])
    return syscall("pidfd_getfd", pidfd, 0, 0)


@attack
def limit_another_process(t: dict) -> object:
    import resource

    return resource.prlimit(t["victim"], resource.RLIMIT_NOFILE)


@attack
def slow_down_the_whole_job(t: dict) -> object:
    os.setpriority(os.PRIO_PGRP, 0, os.getpriority(os.PRIO_PGRP, 0))
    return "could"


@attack
def become_root(t: dict) -> object:
    os.setresuid(0, 0, 0)
    return os.getuid()


@attack
def take_another_uid(t: dict) -> object:
    os.setresuid(12345, 12345, 12345)
    return os.getuid()


@attack
def raise_limits(t: dict) -> object:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))
    return "raised"


@attack
def join_the_namespace_of_another(t: dict) -> object:
    fd = os.open(f"/proc/{t['victim']}/ns/net", os.O_RDONLY)
    return syscall("setns", fd, 0)


@attack
def be_dumped(t: dict) -> object:
    """With core dumps on, a crash hands the process to a collector of the machine's."""
    import resource

    return resource.getrlimit(resource.RLIMIT_CORE)[1] > 1 or refuse("no core")


@attack
def write_memory_of_another_process(t: dict) -> object:
    return os.open(f"/proc/{t['victim']}/mem", os.O_RDWR)


@attack
def offer_another_process_to_the_kernel_when_memory_is_short(t: dict) -> object:
    with open(f"/proc/{t['victim']}/oom_score_adj", "r+") as file:
        value = file.read()
        file.write(value)
        return value


@attack
def pin_another_process_to_a_processor(t: dict) -> object:
    os.sched_setaffinity(t["victim"], os.sched_getaffinity(t["victim"]))
    return "pinned"


@attack
def run_before_all_others(t: dict) -> object:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return "real time"


@attack
def move_into_another_control_group(t: dict) -> object:
    for path in ("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/pids/cgroup.procs"):
        if os.path.exists(path):
            os.close(os.open(path, os.O_WRONLY))
            return path
    raise FileNotFoundError("none to be seen")

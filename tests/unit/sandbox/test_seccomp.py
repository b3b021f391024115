"""The filter, run in a small BPF machine: every verdict without a kernel, for both architectures."""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from pathlib import Path

import pytest

from pearrt.errors import Unsupported
from pearrt.sandbox import seccomp, syscalls

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
MACHINES = tuple(ARCH)


@lru_cache
def program(machine: str) -> tuple[tuple[int, int, int, int], ...]:
    return tuple(struct.iter_unpack("<HBBI", seccomp.build(machine)))


def verdict(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the kernel would do; raises where the program would not have passed its checker."""
    padded = [*arguments, *[0] * 6][:6]
    words = [a & (1 << 64) - 1 for a in padded]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, ARCH[machine] if arch is None else arch, 0, *words)
    steps, accumulator, at = program(machine), 0, 0
    while True:
        code, jt, jf, k = steps[at]
        at += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("<I", data, k)[0]
            case 0x54:
                accumulator &= k
            case 0x15:
                at += jt if accumulator == k else jf
            case 0x35:
                at += jt if accumulator >= k else jf
            case 0x45:
                at += jt if accumulator & k else jf
            case 0x06:
                return k
            case _:
                raise AssertionError(f"instruction {code:#x}")


def of(machine: str, name: str, *arguments: int) -> int:
    return verdict(machine, syscalls.numbers(machine)[name], *arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_gets_the_verdict_of_its_set(machine: str) -> None:
    known = syscalls.numbers(machine)
    for name, number in known.items():
        if name in syscalls.CHECKED:
            continue
        expected = EPERM if name in syscalls.REFUSED else ENOSYS if name in syscalls.ABSENT else ALLOW
        assert verdict(machine, number) == expected, name
    for number in set(range(1024)) - set(known.values()):
        assert verdict(machine, number) == ENOSYS, number


@pytest.mark.parametrize("machine", MACHINES)
def test_other_architectures_are_killed(machine: str) -> None:
    for arch in (0x40000003, 0x40000028, 0xC0000015, *(a for m, a in ARCH.items() if m != machine)):
        assert verdict(machine, 0, arch=arch) == KILL


def test_x32_calls_are_killed() -> None:
    for number in (0, 39, 0x3FFFFFFF):
        assert verdict("x86_64", 0x40000000 | number) == KILL
    assert verdict("x86_64", -1) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_clone_makes_threads_and_processes_but_no_namespaces(machine: str) -> None:
    assert of(machine, "clone", 0x3D0F00) == ALLOW  # pthread_create
    assert of(machine, "clone", 0x1200011) == ALLOW  # fork
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert of(machine, "clone", flag | 17) == EPERM
    assert of(machine, "clone3") == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_only_stream_pairs_of_unix_sockets_can_be_made(machine: str) -> None:
    assert of(machine, "socketpair", 1, 1) == ALLOW
    assert of(machine, "socketpair", 1, 1 | 0o2000000 | 0o4000) == ALLOW
    for family, kind in ((1, 2), (1, 5), (1, 3), (2, 1), (16, 1), (1, 2 | 0o4000)):
        assert of(machine, "socketpair", family, kind) == EPERM
    for name in ("socket", "connect", "bind", "listen", "accept", "accept4"):
        assert of(machine, name, 1, 1) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_sendto_takes_no_address(machine: str) -> None:
    assert of(machine, "sendto", 3, 0x1000, 1, 0, 0, 0) == ALLOW
    for address in (1, 1 << 32, 0x7FFC00000000, 1 << 63):
        assert of(machine, "sendto", 3, 0x1000, 1, 0, address, 16) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_sending_does_not_connect(machine: str) -> None:
    """MSG_FASTOPEN on a TCP socket that was handed in would."""
    for name, flags_at in (("sendmsg", 2), ("sendmmsg", 3)):
        assert of(machine, name, *[3] * flags_at, 0x4000) == ALLOW
        assert of(machine, name, *[3] * flags_at, 0x20004000) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_terminals_can_be_used_but_not_typed_into(machine: str) -> None:
    for command in (0x5401, 0x5402, 0x5413, 0x541B):
        assert of(machine, "ioctl", 0, command) == ALLOW
        assert of(machine, "ioctl", 0, command | 1 << 32) == ALLOW  # the kernel drops the upper half
    for command in (0x5412, 0x541C, 0x5423, 0x541D, 0x5412 | 1 << 32, 0xC0403D00, 0x4B3A):
        assert of(machine, "ioctl", 0, command) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_the_process_group_cannot_be_signalled(machine: str) -> None:
    assert of(machine, "kill", 5, 15) == ALLOW
    assert of(machine, "kill", -1, 15) == ALLOW  # everything in the namespace, which is the app's
    assert of(machine, "kill", 0, 15) == EPERM
    assert of(machine, "kill", 1 << 32, 15) == EPERM
    assert of(machine, "pidfd_send_signal", 3, 15, 0, 0) == ALLOW
    assert of(machine, "pidfd_send_signal", 3, 15, 0, 4) == EPERM
    assert of(machine, "setpriority", 0, 0, 5) == ALLOW
    for which in (1, 2):
        assert of(machine, "setpriority", which, 0, 5) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_other_argument_rules(machine: str) -> None:
    assert of(machine, "prctl", 15) == ALLOW
    for option in (4, 22, 8, 28, 35, 47, 0x59616D61):
        assert of(machine, "prctl", option) == EPERM
    assert of(machine, "prlimit64", 0, 7) == ALLOW
    assert of(machine, "prlimit64", 1, 7) == EPERM
    assert of(machine, "mknodat", 5, 0, 0o010600) == ALLOW
    for mode in (0o020600, 0o060600, 0o140600):
        assert of(machine, "mknodat", 5, 0, mode) == EPERM
    assert of(machine, "personality", 0xFFFFFFFF) == ALLOW
    assert of(machine, "personality", 0x0040000) == EPERM


DANGEROUS = """
socket connect bind listen accept accept4 ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp bpf
io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key perf_event_open userfaultfd mount
umount2 pivot_root chroot setns unshare move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr
open_by_handle_at name_to_handle_at setuid setgid setresuid setresgid setgroups capset init_module
finit_module delete_module kexec_load reboot swapon sethostname quotactl fanotify_init syslog settimeofday
memfd_create memfd_secret shmget seccomp clone3 execveat landlock_restrict_self process_madvise mq_open
vhangup acct
"""


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", DANGEROUS.split())
def test_a_dangerous_call_never_passes(machine: str, name: str) -> None:
    assert of(machine, name) in (EPERM, ENOSYS)
    assert name not in syscalls.allowed(machine)


def test_every_name_of_a_set_is_in_the_table() -> None:
    every = set(syscalls.numbers("x86_64")) | set(syscalls.numbers("aarch64"))
    assert every >= syscalls.CHECKED | syscalls.REFUSED | syscalls.ABSENT
    assert not syscalls.CHECKED & syscalls.REFUSED


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_the_numbers_are_the_kernels(machine: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip("not applicable: kernel headers are not installed")
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", Path(header).read_text()))
    alias = {"newfstatat": "fstatat"} if machine == "aarch64" else {}
    for name, number in syscalls.numbers(machine).items():
        kernels = found.get(alias.get(name, name))
        assert kernels is None or int(kernels) == number, name


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_is_one_that_the_kernel_takes(machine: str) -> None:
    steps = program(machine)
    assert len(steps) <= seccomp.MAX_INSTRUCTIONS
    for at, (code, jt, jf, _) in enumerate(steps):
        if code in (0x15, 0x35, 0x45):
            assert at + 1 + max(jt, jf) < len(steps)
    assert steps[-1][0] == 0x06


def test_other_machines_are_refused() -> None:
    for machine in ("i686", "armv7l", "riscv64", "\x1b[31m"):
        with pytest.raises(Unsupported) as caught:
            seccomp.build(machine)
        assert caught.value.message.isprintable()


@pytest.mark.parametrize("machine", MACHINES)
def test_a_mode_is_changed_but_never_to_the_owners_rights(machine: str) -> None:
    for name, before in (("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2), ("chmod", 1)):
        if name in syscalls.numbers(machine):
            assert of(machine, name, *[0] * before, 0o100755) == ALLOW
            for bits in (0o4755, 0o2755, 0o6000, 0x1_0000_0000 | 0o4000):
                assert of(machine, name, *[0] * before, bits) == EPERM

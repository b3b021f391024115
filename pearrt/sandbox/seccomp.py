"""The seccomp filter: an allowlist of system calls as a classic BPF program, assembled here. Pure.

What the program does, in this order:
    another architecture's calls (int 0x80, x32)   the process is killed
    ALLOWED                                        pass
    CHECKED                                        pass when their arguments do (below), else EPERM
    REFUSED                                        EPERM
    all else, also calls this table does not know  ENOSYS

An app that serves its own page also gets SERVING: it inherits the one socket that it may listen on, and can
make no other.

There are two: bubblewrap installs a wider one, under which its own process 1 stays and the shim starts; the
shim adds the narrow one, under which the app runs. The kernel takes the stricter verdict of both.

Only registers can be checked, never what they point to; so whatever hides its danger behind a pointer is
refused as a whole (clone3, socket addresses). `kill(0, …)` is refused because a process group, unlike every
process id, can reach beyond the namespace. Calls that take an `int` ignore the upper half of the register:
so do the checks. Source: Linux `Documentation/userspace-api/seccomp_filter.rst`,
`include/uapi/linux/{filter,audit,seccomp}.h`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from pearrt.errors import Unsupported
from pearrt.sandbox import syscalls

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_RET|K
_JEQ, _JGE, _JSET = 0x15, 0x35, 0x45
_KILL, _ALLOW = 0x80000000, 0x7FFF0000
_EPERM, _ENOSYS = 0x00050000 | 1, 0x00050000 | 38

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand

# clone: every CLONE_NEW… flag (namespaces). CLONE_NEWTIME lies in the exit-signal byte, which clone ignores.
_CLONE_NAMESPACES = 0x02000000 | 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000

# Terminals: attributes, window size, queues, job control; pseudo-terminals; plain descriptor flags; reflinks.
# A terminal in here is the app's own. Left out on purpose all the same: TIOCSTI and TIOCLINUX (typing),
# TIOCSETD, TIOCCONS, every device's own.
IOCTLS = {
    "TCGETS": 0x5401, "TCSETS": 0x5402, "TCSETSW": 0x5403, "TCSETSF": 0x5404, "TCSBRK": 0x5409,
    "TCXONC": 0x540A, "TCFLSH": 0x540B, "TIOCSCTTY": 0x540E, "TIOCGPGRP": 0x540F, "TIOCSPGRP": 0x5410,
    "TIOCOUTQ": 0x5411, "TIOCGWINSZ": 0x5413, "TIOCSWINSZ": 0x5414, "FIONREAD": 0x541B, "FIONBIO": 0x5421,
    "TIOCNOTTY": 0x5422, "TCSBRKP": 0x5425, "TIOCGSID": 0x5429, "TCGETS2": 0x802C542A,
    "TCSETS2": 0x402C542B, "TCSETSW2": 0x402C542C, "TCSETSF2": 0x402C542D, "TIOCGPTN": 0x80045430,
    "TIOCSPTLCK": 0x40045431, "TIOCGPTPEER": 0x5441, "FIONCLEX": 0x5450, "FIOCLEX": 0x5451,
    "FIOASYNC": 0x5452, "FICLONE": 0x40049409, "FICLONERANGE": 0x4020940D,
}  # fmt: skip

# prctl options that name, time or describe the caller. No ptrace permission, capabilities, securebits or
# memory maps.
PRCTLS = {
    "PR_SET_PDEATHSIG": 1, "PR_GET_PDEATHSIG": 2, "PR_GET_DUMPABLE": 3, "PR_GET_KEEPCAPS": 7,
    "PR_SET_NAME": 15, "PR_GET_NAME": 16, "PR_GET_SECCOMP": 21, "PR_CAPBSET_READ": 23,
    "PR_GET_TIMERSLACK": 30, "PR_SET_TIMERSLACK": 29, "PR_SET_CHILD_SUBREAPER": 36,
    "PR_GET_CHILD_SUBREAPER": 37, "PR_GET_NO_NEW_PRIVS": 39, "PR_GET_TID_ADDRESS": 40,
    "PR_SET_THP_DISABLE": 41, "PR_GET_THP_DISABLE": 42, "PR_SET_VMA": 0x53564D41,
}  # fmt: skip

# fcntl commands that tell of others' use of a file, hold it up (leases), or choose the signal that a
# descriptor sends: SIGCONT would end a stop.
_FCNTLS = {"F_SETSIG": 10, "F_SETLEASE": 1024, "F_NOTIFY": 1026}
# Programs for the kernel: SO_ATTACH_FILTER, _BPF, _REUSEPORT_CBPF, _REUSEPORT_EBPF.
_SOCKET_PROGRAMS = (26, 50, 51, 52)

_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE_MASK = 1, 1, 0xF
_MSG_OOB = 1  # on Unix streams little used and often broken (CVE-2025-38236)
_MSG_FASTOPEN = 0x20000000  # connects while it sends
_S_ISUID, _S_ISGID = 0o4000, 0o2000  # of a file that the person let it save, these would be the person's
_S_IFMT, _S_IFREG, _S_IFIFO = 0o170000, 0o100000, 0o010000


def _argument(index: int) -> Instruction:
    """Loads the lower half of an argument register (both architectures are little-endian)."""
    return (_LOAD, 0, 0, 16 + 8 * index)


def _one_of(values: Sequence[int]) -> list[Instruction]:
    """Allows when the loaded word is one of `values`, else EPERM."""
    tests = [part for value in values for part in ((_JEQ, 0, 1, value), (_RETURN, 0, 0, _ALLOW))]
    return [*tests, (_RETURN, 0, 0, _EPERM)]


def _no_bit(mask: int) -> list[Instruction]:
    """EPERM when the loaded word has any bit of `mask`, else allows."""
    return [(_JSET, 0, 1, mask), (_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]


def _none_of(values: Sequence[int]) -> list[Instruction]:
    """EPERM when the loaded word is one of `values`, else allows."""
    tests = [part for value in values for part in ((_JEQ, 0, 1, value), (_RETURN, 0, 0, _EPERM))]
    return [*tests, (_RETURN, 0, 0, _ALLOW)]


def _checks() -> dict[str, list[Instruction]]:
    """The argument rules of CHECKED: each loads what it needs and ends in a verdict."""
    no_address = [(_LOAD, 0, 0, 16 + 8 * 4), (_JEQ, 0, 3, 0), (_LOAD, 0, 0, 16 + 8 * 4 + 4), (_JEQ, 0, 1, 0)]
    mode = [(_AND, 0, 0, _S_IFMT), *_one_of((0, _S_IFREG, _S_IFIFO))]
    stream = [_argument(1), (_AND, 0, 0, _SOCK_TYPE_MASK), *_one_of((_SOCK_STREAM,))]
    plain = [_argument(3), (_JSET, 0, 1, _MSG_OOB), (_RETURN, 0, 0, _EPERM)]
    return {
        "chmod": [_argument(1), *_no_bit(_S_ISUID | _S_ISGID)],
        "fchmod": [_argument(1), *_no_bit(_S_ISUID | _S_ISGID)],
        "fchmodat": [_argument(2), *_no_bit(_S_ISUID | _S_ISGID)],
        "fchmodat2": [_argument(2), *_no_bit(_S_ISUID | _S_ISGID)],
        "clone": [_argument(0), *_no_bit(_CLONE_NAMESPACES)],
        "fcntl": [_argument(1), *_none_of(tuple(_FCNTLS.values()))],
        "ioctl": [_argument(1), *_one_of(tuple(IOCTLS.values()))],
        "kill": [_argument(0), *_none_of((0,))],
        "mknod": [_argument(1), *mode],
        "mknodat": [_argument(2), *mode],
        "personality": [_argument(0), *_one_of((0, 0xFFFFFFFF))],
        "pidfd_send_signal": [_argument(3), *_one_of((0,))],
        "prctl": [_argument(0), *_one_of(tuple(PRCTLS.values()))],
        "prlimit64": [_argument(0), *_one_of((0,))],
        "sendmmsg": [_argument(3), *_no_bit(_MSG_FASTOPEN | _MSG_OOB)],
        "sendmsg": [_argument(2), *_no_bit(_MSG_FASTOPEN | _MSG_OOB)],
        "sendto": [*plain, *no_address, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)],
        "setpriority": [_argument(0), *_one_of((0,))],
        "setsockopt": [_argument(2), *_none_of(_SOCKET_PROGRAMS)],
        "socketpair": [_argument(0), (_JEQ, 1, 0, _AF_UNIX), (_RETURN, 0, 0, _EPERM), *stream],
    }


@lru_cache(maxsize=8)
def build(machine: str, *, setting_up: bool = False, serving: bool = False) -> bytes:
    """The filter as an array of `struct sock_filter`. With `setting_up` the wider one that bubblewrap
    installs: it holds for the sandbox's first process and lets the shim close its doors, then the narrow one
    is added. `serving` is for an app with an inherited listening socket. Raises Unsupported for other
    machines than the two known.
    """
    if machine not in _AUDIT_ARCH:
        raise Unsupported(
            f"The sandbox has no system call filter for {ascii(machine)[:40]} machines.",
            hint="Use an x86_64 or aarch64 Linux machine.",
        )
    known = syscalls.numbers(machine)
    program: list[Instruction] = [
        (_LOAD, 0, 0, 4),
        (_JEQ, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":
        program += [(_JGE, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL)]
    passing = set(syscalls.allowed(machine)) | (syscalls.SETTING_UP if setting_up else set())
    passing |= syscalls.SERVING & known.keys() if serving else set()
    for name in sorted(passing, key=known.__getitem__):
        program += [(_JEQ, 0, 1, known[name]), (_RETURN, 0, 0, _ALLOW)]
    for name, block in _checks().items():
        if name in known and name not in passing:
            program += [(_JEQ, 0, len(block), known[name]), *block]
    for name in sorted((syscalls.REFUSED & known.keys()) - passing):
        program += [(_JEQ, 0, 1, known[name]), (_RETURN, 0, 0, _EPERM)]
    program.append((_RETURN, 0, 0, _ENOSYS))
    assert len(program) <= MAX_INSTRUCTIONS
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)

"""Holding: a stopped app that goes on, shared queues filled."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal

from attacks.harness import MACHINE, attack, checked, libc, refuse

F_SETSIG = 10


@attack
def wake_oneself_by_a_timer(t: dict) -> object:
    """While the person is asked the app stands still. A timer whose signal is SIGCONT ends that."""
    event = (ctypes.c_uint32 * 16)(0, 0, signal.SIGCONT, 0)  # struct sigevent: SIGEV_SIGNAL
    timer = ctypes.c_void_p()
    return checked(libc.timer_create(1, event, ctypes.byref(timer))) == 0


@attack
def be_woken_by_what_the_person_types(t: dict) -> object:
    """A descriptor that sends SIGCONT when there is something to read."""
    reader, _writer = os.pipe()
    fcntl.fcntl(reader, F_SETSIG, signal.SIGCONT)
    fcntl.fcntl(reader, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    return "set"


@attack
def fill_the_persons_queue_of_signals(t: dict) -> object:
    """It is one for all processes of a user."""
    return resource.getrlimit(resource.RLIMIT_SIGPENDING)[0] > 1024 or refuse("a small share")


@attack
def slow_down_all_of_the_person(t: dict) -> object:
    os.setpriority(os.PRIO_USER, 0, os.getpriority(os.PRIO_USER, 0))
    return "could"


@attack
def slow_down_the_disk_for_the_whole_job(t: dict) -> object:
    number = 251 if MACHINE == "x86_64" else 30
    return checked(libc.syscall(number, 2, 0, 2 << 13 | 7)) == 0  # ioprio_set, IOPRIO_WHO_PGRP


@attack
def reap_the_memory_of_another_process(t: dict) -> object:
    pidfd = os.pidfd_open(t["victim"])
    libc.syscall(448, pidfd, 0)  # process_mrelease: EINVAL for one that does not die
    return ctypes.get_errno() == 22 or refuse(os.strerror(ctypes.get_errno()))


@attack
def change_the_machines_clock_rate(t: dict) -> object:
    number = 159 if MACHINE == "x86_64" else 171
    return checked(libc.syscall(number, ctypes.create_string_buffer(256))) >= 0  # adjtimex, changing nothing

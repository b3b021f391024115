"""A Windows job object around an app's process: what the system itself bounds there. A shell of the sandbox
room.

    the process and the job end together with the launcher, however that ends
    one process: the app's can start none
    memory that the process may have committed in total
    no clipboard, no desktop, no other program's windows, no shutting down

It is no container: files, network and the person's rights are as they were. Win32 API: CreateJobObjectW,
SetInformationJobObject (JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JOBOBJECT_BASIC_UI_RESTRICTIONS).
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_UI_RESTRICTIONS, _EXTENDED_LIMITS = 4, 9  # JOBOBJECTINFOCLASS
_ACTIVE_PROCESS, _PROCESS_MEMORY, _JOB_MEMORY = 0x8, 0x100, 0x200
_DIE_ON_EXCEPTION, _KILL_ON_CLOSE = 0x400, 0x2000
_ALL_OF_THE_UI = 0xFF


class _Limits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION of winnt.h, flat."""

    _fields_ = (
        ("process_time", ctypes.c_int64),
        ("job_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("least_working_set", ctypes.c_size_t),
        ("most_working_set", ctypes.c_size_t),
        ("processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority", ctypes.c_uint32),
        ("scheduling", ctypes.c_uint32),
        ("io", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class Job:
    """Holds one process while it is open. Raises OSError where the system refuses."""

    def __init__(self, memory_bytes: int) -> None:
        self._kernel = _kernel()
        self._handle = self._done(self._kernel.CreateJobObjectW(None, None))
        limits = _Limits(
            flags=_ACTIVE_PROCESS | _PROCESS_MEMORY | _JOB_MEMORY | _DIE_ON_EXCEPTION | _KILL_ON_CLOSE,
            processes=1,
            process_memory=memory_bytes,
            job_memory=memory_bytes,
        )
        try:
            self._set(_EXTENDED_LIMITS, limits)
            self._set(_UI_RESTRICTIONS, ctypes.c_uint32(_ALL_OF_THE_UI))
        except OSError:
            self.close()
            raise

    def add(self, process: int) -> None:
        """Puts a process, by its handle, into the job, and looks whether it is in there."""
        self._done(self._kernel.AssignProcessToJobObject(self._handle, process))
        inside = ctypes.c_int32()
        self._done(self._kernel.IsProcessInJob(process, self._handle, ctypes.byref(inside)))
        if not inside.value:
            raise OSError("the process is not in its job")

    def close(self) -> None:
        """Ends what is still in it."""
        self._kernel.CloseHandle(self._handle)

    def _set(self, kind: int, value: Any) -> None:
        size = ctypes.sizeof(value)
        self._done(self._kernel.SetInformationJobObject(self._handle, kind, ctypes.byref(value), size))

    def _done(self, result: int | None) -> int:
        if not result:
            raise _last_error()
        return result


def handles(process: int) -> int:
    """How many handles a process, by its handle, has open. Raises OSError."""
    number = ctypes.c_uint32()
    if not _kernel().GetProcessHandleCount(process, ctypes.byref(number)):
        raise _last_error()
    return number.value


if sys.platform == "win32":

    def _kernel() -> Any:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = ctypes.c_void_p
        kernel.CreateJobObjectW.restype = handle
        kernel.CreateJobObjectW.argtypes = (handle, ctypes.c_wchar_p)
        kernel.SetInformationJobObject.argtypes = (handle, ctypes.c_int, handle, ctypes.c_uint32)
        kernel.AssignProcessToJobObject.argtypes = (handle, handle)
        kernel.IsProcessInJob.argtypes = (handle, handle, handle)
        kernel.GetProcessHandleCount.argtypes = (handle, handle)
        kernel.CloseHandle.argtypes = (handle,)
        return kernel

    def _last_error() -> OSError:
        return ctypes.WinError(ctypes.get_last_error())

else:

    def _kernel() -> Any:
        raise OSError("There are jobs on Windows only.")

    def _last_error() -> OSError:
        return OSError()

"""The name of this machine's kind, as releases for one kind only bear it: `linux-x86_64`, `macos-arm64`, …"""

from __future__ import annotations

import platform

_SYSTEMS = {"linux": "linux", "darwin": "macos", "windows": "windows"}
_MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def platform_tag() -> str:
    """System and machine, lower case, joined by a hyphen."""
    system, machine = platform.system().lower(), platform.machine().lower()
    return f"{_SYSTEMS.get(system, system)}-{_MACHINES.get(machine, machine)}"

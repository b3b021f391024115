"""The name of this machine's kind, as releases for one kind only bear it: `linux-x86_64`, `macos-arm64`, …"""

from __future__ import annotations

import platform

_SYSTEMS = {"darwin": "macos"}


def platform_tag() -> str:
    """System and machine, lower case, joined by a hyphen."""
    system = platform.system().lower()
    return f"{_SYSTEMS.get(system, system)}-{platform.machine().lower()}"

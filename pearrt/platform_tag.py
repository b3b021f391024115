"""The names of this machine's kind, as releases for one kind only bear them: `linux-x86_64-cp311`,
`linux-x86_64`, `macos-arm64`, … and `any`."""

from __future__ import annotations

import platform
import sys

ANY = "any"

_SYSTEMS = {"darwin": "macos"}


def platform_tag() -> str:
    """System and machine, lower case, joined by a hyphen."""
    system = platform.system().lower()
    return f"{_SYSTEMS.get(system, system)}-{platform.machine().lower()}"


def python_tag() -> str:
    """This interpreter as wheels name it, `cp311` or `cp313t`; empty where it is no CPython."""
    if sys.implementation.name != "cpython":
        return ""
    threaded = "t" if "t" in getattr(sys, "abiflags", "") else ""
    return f"cp{sys.version_info.major}{sys.version_info.minor}{threaded}"


def platform_tags() -> tuple[str, ...]:
    """What runs here, the most particular first: for this machine and interpreter, this machine, any."""
    machine, python = platform_tag(), python_tag()
    return (f"{machine}-{python}", machine, ANY) if python else (machine, ANY)

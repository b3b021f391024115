"""Where a set of wheels runs: read from the `Tag:` lines of their WHEEL files (PEP 427)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_CPYTHON = re.compile(r"cp(\d)(\d+)t?")
_SYSTEMS = (
    (re.compile(r"(?:many)?linux(?:\d+|_\d+_\d+)?_(?P<cpu>.+)"), "linux-{cpu}"),
    (re.compile(r"musllinux_\d+_\d+_(?P<cpu>.+)"), "linux-{cpu}-musl"),
    (re.compile(r"macosx_\d+_\d+_(?P<cpu>.+)"), "macos-{cpu}"),
    (re.compile(r"win_(?P<cpu>.+)"), "windows-{cpu}"),
    (re.compile(r"win32"), "windows-x86"),
)


@dataclass(frozen=True, slots=True)
class Support:
    """A manifest's `platform`, and a PEP 440 specifier of Python versions, empty for any."""

    platform: str = "any"
    requires_python: str = ""


def support_of(wheels: Iterable[Iterable[str]], fallback_platform: str) -> Support:
    """What all of the wheels run on; each is the list of its tags. Wheels without any code for one platform
    are "any".

    `fallback_platform` names this machine, for tags that say nothing better.
    """
    platform, python = "any", ""
    for tags in wheels:
        for tag in tags:
            interpreter, _, rest = tag.partition("-")
            abi, _, system = rest.partition("-")
            python = join(python, _python_for(interpreter, abi))
            if system not in ("", "any"):
                platform = _platform(system) or fallback_platform
    return Support(platform, python)


def join(first: str, second: str) -> str:
    """Both specifiers at once, none said twice."""
    return ",".join(dict.fromkeys(part.strip() for part in f"{first},{second}".split(",") if part.strip()))


def _platform(tag: str) -> str:
    for pattern, name in _SYSTEMS:
        if match := pattern.fullmatch(tag):
            return name.format(**match.groupdict())
    return ""


def _python_for(interpreter: str, abi: str) -> str:
    """Compiled for one CPython: that one only. Built for the stable ABI: that one and later."""
    if match := _CPYTHON.fullmatch(abi):
        return f"=={match[1]}.{match[2]}.*"
    if abi == "abi3" and (match := _CPYTHON.fullmatch(interpreter)):
        return f">={match[1]}.{match[2]}"
    return ""

"""The probe's memory: what was found is kept until the next boot or another bubblewrap. A shell of the
sandbox room.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from pearrt import __version__
from pearrt.paths import Home
from pearrt.sandbox import host as hosts
from pearrt.sandbox.report import Report


def probe(*, runtime: Path | None = None, fresh: bool = False) -> Report:
    """What this machine holds, from real launches; cached until the next boot or another bubblewrap.

    `runtime` is the private directory of the cache (default: this user's). `fresh` probes again.
    """
    cache = _cache(runtime)
    stamp = _stamp()
    if stamp and not fresh and (known := _read_cache(cache, stamp)):
        return known
    report = _examined()
    if stamp and report.tier.contains:
        _write_cache(cache, stamp, report)
    return report


def _examined() -> Report:
    if hosts.system() == "win32":
        from pearrt.sandbox import engine_run

        return engine_run.examine()
    from pearrt.sandbox.examine import examine

    return examine()


def forget(*, runtime: Path | None = None) -> None:
    """Drops the cached report: the next `probe` looks again."""
    with contextlib.suppress(OSError):
        _cache(runtime).unlink()


def _cache(runtime: Path | None) -> Path:
    return (runtime or Home.from_environment().runtime) / "sandbox.json"


def _stamp() -> list[Any]:
    """What a cached report depends on."""
    if hosts.system() != "linux":
        return []
    from pearrt.sandbox.process import SHIM

    host = hosts.inspect()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        changed = os.stat(host.bubblewrap).st_mtime_ns if host.bubblewrap else 0
    except OSError:
        return []  # never cached
    source = os.stat(SHIM).st_mtime_ns
    return [__version__, boot, changed, source, host.interpreter, sys.version, os.geteuid()]


def _read_cache(cache: Path, stamp: list[Any]) -> Report | None:
    try:
        value = json.loads(cache.read_text())
        return Report.from_dict(value["report"]) if value["stamp"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_cache(cache: Path, stamp: list[Any], report: Report) -> None:
    """Best effort: without it every start probes anew."""
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps({"stamp": stamp, "report": report.as_dict()}))
        temporary.replace(cache)

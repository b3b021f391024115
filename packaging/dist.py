"""Builds into dist/ what this machine can: `make dist`.

    wheel, sdist            by the hatchling that the lock names
    pearrt-bootstrap.pyz    needs the runtime's link: make dist RUNTIME_LINK=pearrt://…
    pearrt_*.deb            needs dpkg-deb
    pearrt-*-linux-*        the one-file program; needs a Python with its shared library

Each artefact that is built is started once. What cannot be built is listed as SKIPPED with the reason, at the
end and in capitals; that is no failure, unless it was asked for by name (--only). SHA256SUMS names all.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from build_deb import LIBRARY, build_deb, variants_here
from build_onefile import build_onefile
from build_wheel import build_wheel_and_sdist
from source import LOCK, ROOT, Source, exported, is_dirty

from pearrt.errors import PearrtError, UserError
from pearrt.publish.runtime_lock import RuntimeLock

KINDS = ("wheel", "pyz", "deb", "onefile")
PYZ = "pearrt-bootstrap.pyz"


@dataclass(frozen=True, slots=True)
class Bench:
    """What every build needs: sources, lock, where wheels lie, where results go, a place to be untidy."""

    source: Source
    lock: RuntimeLock
    wheels: Path
    out: Path
    scratch: Path


def main() -> int:
    arguments = _arguments()
    if is_dirty(arguments.source):
        print("Changes that are not committed are not built.", file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    skipped: dict[str, str] = {}
    made: list[Path] = []
    with exported(arguments.source) as source, tempfile.TemporaryDirectory(prefix="pearrt-dist-") as scratch:
        lock = RuntimeLock.parse((source.folder / LOCK).read_text("utf-8"))
        bench = Bench(source, lock, arguments.wheels, arguments.out, Path(scratch))
        for kind in arguments.only or KINDS:
            began = time.monotonic()
            try:
                built = list(_BUILDERS[kind](bench))
            except PearrtError as e:
                skipped[kind] = f"{e.message} {e.hint}".strip()
                continue
            for path in built:
                print(f"{path.name}  {path.stat().st_size:,} bytes  ({time.monotonic() - began:.0f} s)")
            made += built
    _write_sums(arguments.out, made)
    for kind, reason in skipped.items():
        print(f"SKIPPED {kind}: {reason}", file=sys.stderr)
    return 1 if set(skipped) & set(arguments.only) else 0


def _wheel(bench: Bench) -> Iterable[Path]:
    wheel, sdist = build_wheel_and_sdist(bench.source, bench.wheels, bench.scratch, bench.out)
    _starts([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(wheel)!r}); import pearrt.errors"])
    return wheel, sdist


def _pyz(bench: Bench) -> Iterable[Path]:
    link = os.environ.get("RUNTIME_LINK", "")
    if not link:
        raise UserError("No runtime to begin with.", hint="Name its link: make dist RUNTIME_LINK=pearrt://…")
    target = bench.out / PYZ
    script = bench.source.folder / "packaging" / "build_pyz.py"
    done = subprocess.run(
        [sys.executable, str(script), "--runtime", link, "-o", str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(done.stderr.strip() or "build_pyz.py failed.")
    _starts([sys.executable, "-I", "-S", str(target), "--help"])
    return (target,)


def _deb(bench: Bench) -> Iterable[Path]:
    variants = variants_here(bench.lock)
    target = build_deb(bench.source, bench.lock, variants, bench.wheels, bench.out)
    root = bench.scratch / "deb"
    subprocess.run(["dpkg-deb", "-x", str(target), str(root)], check=True)
    start = root / LIBRARY / "pearrt/runtime/start.py"
    _starts([sys.executable, "-I", "-S", "-B", str(start), "pearrt", "--version"])
    return (target,)


def _onefile(bench: Bench) -> Iterable[Path]:
    chosen = os.environ.get("ONEFILE_PYTHON") or _python_of_the_system()
    target = build_onefile(bench.source, bench.lock, chosen, bench.wheels, bench.out)
    _starts([str(target), "--version"])
    return (target,)


_BUILDERS: dict[str, Callable[[Bench], Iterable[Path]]] = {
    "wheel": _wheel,
    "pyz": _pyz,
    "deb": _deb,
    "onefile": _onefile,
}


def _python_of_the_system() -> str:
    return next((path for path in ("/usr/bin/python3",) if os.access(path, os.X_OK)), sys.executable)


def _starts(command: list[str]) -> None:
    """Raises UserError unless the command ends well in an empty home."""
    with tempfile.TemporaryDirectory(prefix="prt") as home:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PEARRT_")}
        environ |= {"HOME": home, "PEARRT_HOME": home}
        done = subprocess.run(command, env=environ, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"It was built and does not start: {done.stderr.strip()[-300:]}")


def _write_sums(out: Path, made: Iterable[Path]) -> None:
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(made)]
    (out / "SHA256SUMS").write_text("".join(lines), encoding="ascii")


def _arguments() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--wheels", type=Path, default=ROOT / "build" / "wheels", help="where wheels lie")
    parser.add_argument("--source", type=Path, default=ROOT, help="checkout or source tree to build")
    parser.add_argument("--only", action="append", default=[], choices=KINDS, help="only this; repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

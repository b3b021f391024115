"""The Debian package, by dpkg-deb from a staged tree.

    /usr/bin/pearrt                     starts what follows with the system's Python, isolated
    /usr/lib/pearrt/                    pearrt and its dependencies, for each CPython in the lock
    /usr/lib/systemd/{user,system}/     the user's daemon; the hardened seeder (neither is enabled)
    /usr/share/…                        man page, completions, desktop entry with the pearrt:// handler

Dependencies are carried, not taken from python3-*: Debian 12 has PyNaCl 1.5, aiohttp 3.8 and zeroconf 0.47,
all older than pearrt needs. Compiled modules bear their Python's name, so that one package serves every
Python of the lock side by side. The same source gives the same bytes.

    python packaging/build_deb.py --out DIR [--python 311 …] [--fast]
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path

from source import LOCK, ROOT, Source, exported

from pearrt.errors import PearrtError, UserError
from pearrt.platform_tag import platform_tag
from pearrt.publish.runtime_lock import RuntimeLock, Variant
from pearrt.publish.runtime_tree import build_tree, read_version
from pearrt.publish.runtime_wheels import fetch_wheels

ARCHITECTURES = {"linux-x86_64": "amd64", "linux-aarch64": "arm64"}
LIBRARY = Path("usr/lib/pearrt")
_MAINTAINER = "The pearrt authors <authors@pearrt.invalid>"
_FILES = {
    "packaging/systemd/pearrt.service": "usr/lib/systemd/user/pearrt.service",
    "packaging/systemd/pearrt-seeder.service": "usr/lib/systemd/system/pearrt-seeder.service",
    "packaging/systemd/pearrt.sysusers": "usr/lib/sysusers.d/pearrt.conf",
    "packaging/desktop/pearrt.desktop": "usr/share/applications/pearrt.desktop",
    "packaging/debian/copyright": "usr/share/doc/pearrt/copyright",
}
_PROGRAMS = {
    "packaging/debian/pearrt.sh": "usr/bin/pearrt",
    "packaging/debian/pearrt.rtupdate": "usr/share/python3/runtime.d/pearrt.rtupdate",
    "packaging/debian/postinst": "DEBIAN/postinst",
    "packaging/debian/prerm": "DEBIAN/prerm",
}
_COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/pearrt",
    "zsh": "usr/share/zsh/vendor-completions/_pearrt",
    "fish": "usr/share/fish/vendor_completions.d/pearrt.fish",
}


def build_deb(
    source: Source,
    lock: RuntimeLock,
    variants: Sequence[Variant],
    wheels: Path,
    out: Path,
    *,
    fast: bool = False,
) -> Path:
    """`out/pearrt_<version>_<architecture>.deb`, for the Pythons of `variants`, all of one system. `fast`
    compresses little, for a package that is thrown away.

    Raises UserError where a wheel, dpkg-deb or this machine's own Python among the variants is missing.
    """
    (system,) = {variant.system for variant in variants}
    if shutil.which("dpkg-deb") is None:
        raise UserError("Debian packages need dpkg-deb, which is not here.")
    with tempfile.TemporaryDirectory(prefix="pearrt-deb-") as scratch:
        root = Path(scratch) / "root"
        for variant in variants:
            fetch_wheels(lock, variant.tag, wheels)
            tree = build_tree(lock, variant, source.folder, wheels, Path(scratch) / variant.tag).folder
            _merge(tree, root / LIBRARY)
            shutil.rmtree(tree)
        _place(source, root)
        _control(source, variants, ARCHITECTURES[system], root)
        _settle(root, source.epoch)
        out.mkdir(parents=True, exist_ok=True)
        target = out / f"pearrt_{debian_version(read_version(source.folder))}_{ARCHITECTURES[system]}.deb"
        _dpkg_deb(root, target, source.epoch, fast=fast)
    return target


def debian_version(version: str) -> str:
    """A PEP 440 version as Debian sorts it: pre-releases come before."""
    for mark in ("a", "b", "rc", ".dev"):
        head, found, tail = version.partition(mark)
        if found:
            return f"{head}~{mark.lstrip('.')}{tail}"
    return version


def _merge(tree: Path, into: Path) -> None:
    """Adds a variant's tree. Raises UserError where two Pythons need different files of one name."""
    into.mkdir(parents=True, exist_ok=True)
    for path in sorted(tree.rglob("*")):
        target = into / path.relative_to(tree)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif not target.exists():
            shutil.copyfile(path, target)
        elif path.name != "METADATA" and path.read_bytes() != target.read_bytes():
            raise UserError(f"{path.relative_to(tree)} is not the same for every Python: name one Python.")


def _place(source: Source, root: Path) -> None:
    for name, target in (_FILES | _PROGRAMS).items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.folder / name, root / target)
    for shell, target in _COMPLETIONS.items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (root / target).write_text(_completion(root, shell), encoding="utf-8")
    _gzip((source.folder / "packaging/pearrt.1").read_bytes(), root / "usr/share/man/man1/pearrt.1.gz")
    _gzip(_changelog(source).encode(), root / "usr/share/doc/pearrt/changelog.gz")


def _completion(root: Path, shell: str) -> str:
    """From the packaged program itself, which so has run once before anybody installs it."""
    start = root / LIBRARY / "pearrt/runtime/start.py"
    command = [sys.executable, "-I", "-S", "-B", str(start), "pearrt", "completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"The packaged pearrt does not run here: {done.stderr.strip()[-300:]}")
    return done.stdout


def _gzip(data: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(data, 9, mtime=0))


def _changelog(source: Source) -> str:
    """One entry, as policy 4.4 wants it: what changed is said by the release itself."""
    version = debian_version(read_version(source.folder))
    date = formatdate(source.epoch).replace("-0000", "+0000")
    what = f"  * Built from commit {source.commit or 'unknown'}."
    return f"pearrt ({version}) unstable; urgency=medium\n\n{what}\n\n -- {_MAINTAINER}  {date}\n"


def _control(source: Source, variants: Sequence[Variant], architecture: str, root: Path) -> None:
    minors = sorted(int(variant.python.partition(".")[2]) for variant in variants)
    size = sum(-(-path.stat().st_size // 1024) for path in root.rglob("*") if path.is_file())
    text = (source.folder / "packaging/debian/control").read_text("utf-8")
    for name, value in {
        "VERSION": debian_version(read_version(source.folder)),
        "ARCHITECTURE": architecture,
        "MAINTAINER": _MAINTAINER,
        "INSTALLED_SIZE": str(size),
        "FIRST_PYTHON": f"3.{minors[0]}",
        "NEXT_PYTHON": f"3.{minors[-1] + 1}",
    }.items():
        text = text.replace(f"@{name}@", value)
    (root / "DEBIAN/control").write_text(text, encoding="utf-8")
    lines = [
        f"{_md5(path)}  {path.relative_to(root).as_posix()}\n"
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] != "DEBIAN"
    ]
    (root / "DEBIAN/md5sums").write_text("".join(lines), encoding="utf-8")


def _md5(path: Path) -> str:
    """What dpkg -V compares with; no protection is meant."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _settle(root: Path, epoch: int) -> None:
    programs = {root / target for target in _PROGRAMS.values()}
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (epoch, epoch))


def _dpkg_deb(root: Path, target: Path, epoch: int, *, fast: bool) -> None:
    how = ["-Zgzip", "-z1"] if fast else ["-Zxz", "-z6"]
    command = ["dpkg-deb", "--root-owner-group", "--threads-max=1", *how]
    subprocess.run(
        [*command, "--build", str(root), str(target)],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8"},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def main() -> int:
    assert __doc__
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--wheels", type=Path, default=ROOT / "build" / "wheels", help="where wheels lie")
    parser.add_argument("--python", action="append", metavar="311", help="only for this; repeatable")
    parser.add_argument("--fast", action="store_true", help="hardly compressed, to try it out")
    given = parser.parse_args()
    try:
        with exported() as source:
            lock = RuntimeLock.parse((source.folder / LOCK).read_text("utf-8"))
            variants = variants_here(lock, given.python)
            print(build_deb(source, lock, variants, given.wheels, given.out, fast=given.fast))
    except PearrtError as e:
        sys.stderr.write(f"error: {e.message} {e.hint}\n")
        return e.exit_code
    return 0


def variants_here(lock: RuntimeLock, pythons: Sequence[str] | None = None) -> list[Variant]:
    """The lock's variants for this machine, of the Pythons named (311) or all. Raises UserError for none."""
    found = [
        variant
        for variant in lock.variants
        if variant.system == platform_tag()
        and variant.system in ARCHITECTURES
        and (not pythons or variant.python.replace(".", "") in pythons)
    ]
    if not found:
        raise UserError(f"The lock has nothing for a Debian package on {platform_tag()}.")
    return found


if __name__ == "__main__":
    sys.exit(main())

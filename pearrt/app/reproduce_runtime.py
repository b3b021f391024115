"""Rebuilding a release of the runtime from pearrt's own source tree, its lock file and the locked wheels, the
way `packaging/runtime_release.py` does it.

Nothing of the claimed bundle but its index is needed. Without a folder of wheels pip fetches them, by name
and SHA-256; with one that holds them all nothing is fetched.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pearrt.app.progress import Progress, Report, Stage
from pearrt.bundle.index import Index
from pearrt.errors import UserError
from pearrt.publish.reproduce import Reproduction, compare
from pearrt.publish.runtime_lock import RuntimeLock, Variant
from pearrt.publish.runtime_stage import NAME, stage_variant, temporary_tree
from pearrt.publish.runtime_wheels import fetch_wheels

LOCK = Path("packaging") / "runtime.lock"


def reproduce_runtime(
    released: Index, source: Path, wheels: Path | None = None, report: Report = lambda progress: None
) -> Reproduction:
    """Builds the variant that the released index claims to be, and compares. Nothing is kept but wheels.

    Raises UserError where the index is no runtime, the source tree or a wheel is missing; DigestMismatch for
    a wheel that is not the locked one.
    """
    if released.manifest.name != NAME:
        raise UserError(
            f"{released.manifest.name} is not the runtime.", hint="Leave out --runtime for other apps."
        )
    variant = Variant.parse(released.manifest.platform)
    lock = read_lock(source)

    def staged(done: int, total: int) -> None:
        report(Progress(Stage.STAGING, done, total, NAME))

    with tempfile.TemporaryDirectory(prefix="pearrt-wheels-") as temporary:
        folder = wheels or Path(temporary)
        fetch_wheels(lock, variant.tag, folder)
        with temporary_tree(lock, variant, source, folder) as tree:
            rebuilt = stage_variant(tree, variant, lambda block_id, data: None, progress=staged)
    return compare(released, rebuilt.index)


def read_lock(source: Path) -> RuntimeLock:
    """The lock file of a source tree. Raises UserError."""
    try:
        text = (source / LOCK).read_text(encoding="utf-8")
    except OSError as e:
        raise UserError(
            f"{source} has no {LOCK.as_posix()}: {e.strerror}.", hint="Name pearrt's own source tree."
        ) from e
    return RuntimeLock.parse(text)

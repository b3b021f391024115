"""A variant of the runtime becomes blocks and an index: an ordinary bundle, named pearrt.

Codec xz, which the standard library reads: a bootstrapper needs nothing more. Frames keep to one scope, so
that the variants of a release share the blocks of everything that is the same file in each.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.stage import Progress, PutBlock, Staged, stage_tree
from pearrt.publish.runtime_lock import RuntimeLock, Variant
from pearrt.publish.runtime_tree import Tree, build_tree

NAME = "pearrt"
CODEC = "xz"
ENTRY = Entry(module="pearrt.cli.main", function="main")


def runtime_manifest(version: str, variant: Variant) -> Manifest:
    """How a runtime bundle describes itself."""
    return Manifest(
        name=NAME,
        version=version,
        entry=ENTRY,
        requires_python=f"=={variant.python}.*",
        platform=variant.tag,
    )


def stage_variant(
    tree: Tree,
    variant: Variant,
    put_block: PutBlock,
    *,
    packed: MutableMapping[bytes, bytes] | None = None,
    progress: Progress | None = None,
) -> Staged:
    """The bundle of one variant; `packed` carries compressed frames over from one variant to the next."""
    return stage_tree(
        tree.folder,
        runtime_manifest(tree.version, variant),
        put_block,
        codec=CODEC,
        group=tree.scopes.__getitem__,
        packed=packed,
        progress=progress,
    )


@contextlib.contextmanager
def temporary_tree(lock: RuntimeLock, variant: Variant, source: Path, wheels: Path) -> Iterator[Tree]:
    """The variant's tree in a private folder that is gone afterwards. Raises what `build_tree` raises."""
    with tempfile.TemporaryDirectory(prefix="pearrt-runtime-") as folder:
        yield build_tree(lock, variant, source, wheels, Path(folder) / "tree")

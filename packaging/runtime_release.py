"""Stages a release of the runtime: one bundle for each kind of machine in packaging/runtime.lock.

    python packaging/runtime_release.py [--home HOME] [--listing runtime.json] [--variant TAG …]
    pearrt release request LINK $(python packaging/runtime_release.py)
    python packaging/runtime_release.py --fetch-only --variant this

Made from the commit, the lock and the locked wheels, which pip fetches by name and SHA-256 into --wheels
unless they lie there already. The bundles go into the store of HOME (PEARRT_HOME; its daemon must not run).
Their digests go to stdout: what `pearrt release` signs, all of them as one release; --listing has the same
and more as JSON. A variant whose wheels cannot be had is skipped, named at the end and in the listing, and
makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from source import LOCK, ROOT, exported, is_dirty

from pearrt.app.stage import keep
from pearrt.bundle.stage import Staged
from pearrt.errors import PearrtError, UserError
from pearrt.paths import Home
from pearrt.platform_tag import platform_tag
from pearrt.publish.runtime_lock import BUILD, RuntimeLock, Variant
from pearrt.publish.runtime_stage import stage_variant, temporary_tree
from pearrt.publish.runtime_tree import read_version
from pearrt.publish.runtime_wheels import fetch_wheels
from pearrt.store.service import Store


@dataclass(slots=True)
class Matrix:
    """What came of each variant: its staged bundle and its record, or why there is none."""

    staged: dict[str, Staged] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def summed_bytes(self) -> int:
        """Stored bytes if no two variants shared a block."""
        return sum(each.stored_bytes + len(each.index_bytes) for each in self.staged.values())

    @property
    def distinct_bytes(self) -> int:
        """Stored bytes of all distinct blocks: what a store with the whole matrix holds."""
        blocks = {block.id: block.size for each in self.staged.values() for block in each.index.blocks}
        return sum(blocks.values()) + sum(len(each.index_bytes) for each in self.staged.values())


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    try:
        return _build(arguments)
    except PearrtError as e:
        _say(f"{e.message} {e.hint}")
        return e.exit_code


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _build(arguments: argparse.Namespace) -> int:
    with exported(arguments.source) as source:
        if is_dirty(arguments.source):
            _say("Changes that are not committed are not built.")
        lock = RuntimeLock.parse((arguments.lock or source.folder / LOCK).read_text("utf-8"))
        matrix = Matrix()
        had = _fetch(lock, _wanted(lock, arguments.variant), arguments.wheels, matrix)
        if arguments.fetch_only:
            fetch_wheels(lock, BUILD, arguments.wheels)
        else:
            home = Home.at(arguments.home) if arguments.home else Home.from_environment()
            _stage(had, matrix, lock=lock, source=source.folder, wheels=arguments.wheels, home=home)
            _report(matrix)
            if arguments.listing:
                listing = _listing(read_version(source.folder), source.commit, matrix)
                arguments.listing.write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")
        for tag, reason in matrix.skipped.items():
            _say(f"SKIPPED {tag}: {reason}")
        return 1 if matrix.skipped else 0


def _wanted(lock: RuntimeLock, named: Sequence[str]) -> list[Variant]:
    """All variants of the lock, or those named; `this` is the one that runs here."""
    if not named:
        return list(lock.variants)
    this = f"{platform_tag()}-cp{sys.version_info[0]}{sys.version_info[1]}"
    return [Variant.parse(this if tag == "this" else tag) for tag in named]


def _fetch(lock: RuntimeLock, variants: Sequence[Variant], wheels: Path, matrix: Matrix) -> list[Variant]:
    """Those of `variants` whose wheels are in the folder now."""
    had = []
    for variant in variants:
        try:
            fetched = fetch_wheels(lock, variant.tag, wheels)
        except UserError as e:
            matrix.skipped[variant.tag] = e.message
            continue
        had.append(variant)
        if fetched:
            _say(f"{variant.tag}: fetched {fetched} wheels")
    return had


def _stage(
    variants: Sequence[Variant],
    matrix: Matrix,
    *,
    lock: RuntimeLock,
    source: Path,
    wheels: Path,
    home: Home,
) -> None:
    """What one variant compressed the next ones use."""
    home.prepare()
    packed: dict[bytes, bytes] = {}
    with Store(home.store) as store:
        for variant in variants:
            began = time.monotonic()
            with temporary_tree(lock, variant, source, wheels) as tree:
                staged = stage_variant(tree, variant, store.put, packed=packed)
            matrix.records.append(keep(staged, store, home))
            matrix.staged[variant.tag] = staged
            print(staged.digest.hex(), flush=True)
            _say(
                f"{variant.tag}: {len(staged.index.files)} files, {staged.tree_bytes:,} bytes, stored in "
                f"{staged.stored_bytes:,} ({time.monotonic() - began:.1f} s)"
            )


def _report(matrix: Matrix) -> None:
    if matrix.staged:
        share = matrix.distinct_bytes / matrix.summed_bytes
        _say(
            f"{len(matrix.staged)} variants: {matrix.distinct_bytes:,} bytes of blocks, "
            f"{share:.0%} of the {matrix.summed_bytes:,} that they are one by one"
        )


def _listing(version: str, commit: str, matrix: Matrix) -> dict[str, Any]:
    return {
        "format": 1,
        "name": "pearrt",
        "version": version,
        "commit": commit,
        "variants": matrix.records,
        "skipped": matrix.skipped,
        "stored_bytes": matrix.distinct_bytes,
        "summed_bytes": matrix.summed_bytes,
    }


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variant", action="append", default=[], metavar="TAG", help="only this; repeatable")
    parser.add_argument("--home", type=Path, help="stage into this PEARRT_HOME")
    parser.add_argument("--listing", type=Path, help="write the digests and sizes as JSON")
    parser.add_argument("--wheels", type=Path, default=ROOT / "build" / "wheels", help="where wheels lie")
    parser.add_argument("--source", type=Path, default=ROOT, help="checkout or source tree to build")
    parser.add_argument("--lock", type=Path, help="another lock file than the source's")
    parser.add_argument(
        "--fetch-only", action="store_true", help="fetch the wheels and the build tools, build nothing"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())

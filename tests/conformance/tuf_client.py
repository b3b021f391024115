#!/usr/bin/env python3
"""A TUF client on this product's verifier, for the conformance suite of The Update Framework.

The command line is that suite's (theupdateframework/tuf-conformance, CLIENT-CLI.md): `init`, `refresh` and
`download`; exit code 0 where all went well, 1 for any failure. Metadata is kept in METADATA_DIR as
`<quoted role>.json`, byte for byte as it came. Ed25519 only. Needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pearrt.atomic import write_file
from pearrt.errors import PearrtError, UserError
from tests.conformance.updater import HASHES, NotThereError, Target, Updater, check_target

TIMEOUT_S = 30.0
NOT_THERE = (403, 404)


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        options.run(options)
    except (PearrtError, NotThereError, OSError, http.client.HTTPException) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name")
    parser.add_argument("--target-base-url")
    parser.add_argument("--target-dir", type=Path)
    commands = parser.add_subparsers(required=True)
    initialise = commands.add_parser("init", help="Trust this root from now on.")
    initialise.add_argument("trusted_root", type=Path)
    initialise.set_defaults(run=_init)
    commands.add_parser("refresh", help="Bring the metadata up to date.").set_defaults(run=_refresh)
    commands.add_parser("download", help="Fetch and verify one target.").set_defaults(run=_download)
    return parser


def _init(options: argparse.Namespace) -> None:
    options.metadata_dir.mkdir(parents=True, exist_ok=True)
    write_file(options.metadata_dir / "root.json", options.trusted_root.read_bytes(), mode=0o644)


def _refresh(options: argparse.Namespace) -> None:
    _updater(options).refresh()


def _download(options: argparse.Namespace) -> None:
    updater = _updater(options)
    if not (options.target_name and options.target_base_url and options.target_dir):
        raise UserError("A download takes --target-name, --target-base-url and --target-dir.")
    target = updater.find(options.target_name)
    path = options.target_dir / quote(target.path, "")
    if path.is_file() and path.stat().st_size == target.length and target.fits(path.read_bytes()):
        return
    name = _hash_prefixed(target) if updater.root.consistent_snapshot else target.path
    data = get(f"{options.target_base_url.rstrip('/')}/{quote(name)}", target.length)
    check_target(target, data)
    write_file(path, data, mode=0o644)


def _hash_prefixed(target: Target) -> str:
    """`dir/<hash>.file`, where every version of a file stays (TUF 6.2)."""
    folder, slash, name = target.path.rpartition("/")
    digest = next(target.hashes[kind] for kind in HASHES if kind in target.hashes)
    return f"{folder}{slash}{digest}.{name}"


def _updater(options: argparse.Namespace) -> Updater:
    folder: Path = options.metadata_dir
    if not options.metadata_url:
        raise UserError("Say where the repository's metadata is: --metadata-url URL.")
    base = options.metadata_url.rstrip("/")

    def path_of(role: str) -> Path:
        return folder / f"{quote(role, '')}.json"

    def load(role: str) -> bytes | None:
        try:
            return path_of(role).read_bytes()
        except FileNotFoundError:
            return None

    def fetch(role: str, version: int | None, max_bytes: int) -> bytes:
        prefix = "" if version is None else f"{version}."
        return get(f"{base}/{prefix}{quote(role, '')}.json", max_bytes)

    return Updater(load, lambda role, raw: write_file(path_of(role), raw, mode=0o644), fetch, time.time())


def get(url: str, max_bytes: int) -> bytes:
    """The body behind `url`. Raises NotThereError, or OSError where it is longer than `max_bytes`."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as response:
            data: bytes = response.read(max_bytes + 1)
    except urllib.error.HTTPError as e:
        with e:
            if e.code in NOT_THERE:
                raise NotThereError(url) from e
            raise OSError(f"{url}: {e.code}") from e
    if len(data) > max_bytes:
        raise OSError(f"{url} is longer than {max_bytes} bytes")
    return data


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())

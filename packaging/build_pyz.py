"""Builds pearrt-bootstrap.pyz, the one file that brings pearrt onto a machine with nothing but Python.

    python packaging/build_pyz.py --runtime pearrt://… [--node host:port …] [--app pearrt://…] [-o FILE]

The same sources and arguments give the same bytes. `pearrt bootstrapper` does it from an installed pearrt.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pearrt.errors import PearrtError  # noqa: E402 - the tree that this file lies in, not another pearrt
from pearrt.link import HostPort, Link  # noqa: E402
from pearrt.publish.pyz import Sources, build, write_pyz  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runtime", required=True, help="the link of pearrt's own releases")
    parser.add_argument("--node", action="append", default=[], help="a DHT node and peer to begin with")
    parser.add_argument("--app", help="an app that it starts; all arguments are the app's then")
    parser.add_argument("-o", "--output", type=Path, default=Path("pearrt-bootstrap.pyz"))
    given = parser.parse_args()
    try:
        built = build(
            runtime=Link.parse(given.runtime),
            nodes=[HostPort.parse(text) for text in given.node],
            app=Link.parse(given.app) if given.app else None,
            sources=Sources({"pearrt": ROOT / "pearrt", "bootstrap": ROOT / "bootstrap"}),
        )
        write_pyz(given.output, built)
    except PearrtError as e:
        sys.stderr.write(f"error: {e.message}\n" + (f"  try: {e.hint}\n" if e.hint else ""))
        return e.exit_code
    print(f"{hashlib.sha256(built).hexdigest()}  {given.output}  {len(built)} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

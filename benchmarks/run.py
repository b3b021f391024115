"""All benchmarks that need nothing but this repository, one after another; each prints its own figures.

python benchmarks/run.py [--quick]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

FULL: list[list[str]] = [
    ["transfer.py", "file", "--runs", "5"],
    ["start.py", "--runs", "20"],
    ["dht.py"],
    ["peer_throughput.py"],
    ["sandbox_start.py"],
    ["trust.py"],
]
QUICK: list[list[str]] = [["transfer.py", "file", "--runs", "1", "--mib", "64"], ["start.py", "--runs", "3"]]


def main() -> int:
    failed = 0
    for script, *args in QUICK if "--quick" in sys.argv else FULL:
        print(f"\n== {script} {' '.join(args)}", flush=True)
        failed |= subprocess.run([sys.executable, script, *args], cwd=HERE, check=False).returncode
    return failed


if __name__ == "__main__":
    raise SystemExit(main())

"""Where the app starts: `start.py TARGETS`, the targets in JSON."""

from __future__ import annotations

import sys

from attacks import files, kernel, network, processes, startup
from attacks.harness import main

THEMES = {
    "Files": files,
    "Processes": processes,
    "Terminal and network": network,
    "The kernel's doors": kernel,
    "The next start": startup,
}

if __name__ == "__main__":
    sys.exit(main())

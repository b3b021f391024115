"""Where the app starts: `start.py TARGETS`, the targets in JSON."""

from __future__ import annotations

import sys

from attacks import files, holding, kernel, network, processes, startup, terminal, watching
from attacks.harness import main

THEMES = {
    "Files": files,
    "Processes": processes,
    "Terminal and network": network,
    "The kernel's doors": kernel,
    "Watching the person": watching,
    "Not standing still": holding,
    "The next start": startup,
    "The person's terminal": terminal,
}

if __name__ == "__main__":
    sys.exit(main())

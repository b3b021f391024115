"""The smallest app: a greeting with its version and arguments."""

import sys

VERSION = "1.0"

print(f"Hello from version {VERSION}: {' '.join(sys.argv[1:]) or 'no arguments'}.", flush=True)

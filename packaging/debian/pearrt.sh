#!/bin/sh
# Isolated from the user's Python settings and the system's Python packages: what pearrt imports is its own.
exec /usr/bin/python3 -I -S /usr/lib/pearrt/pearrt/runtime/start.py pearrt "$@"

"""This machine, as the choice of a release sees it.

The seed is drawn once and never leaves the machine: `rollout-seed` in the data folder. Whoever removes it
draws another one, and with it another place in every rollout.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from pearrt import __version__
from pearrt.atomic import write_file
from pearrt.platform_tag import platform_tags
from pearrt.trust.choice import Machine
from pearrt.trust.rollout import SEED_BYTES

SEED_FILE = "rollout-seed"


def this_machine(data: Path | None = None) -> Machine:
    """What runs here, with the seed in the folder `data`, or else a fixed one."""
    return Machine(platform_tags(), __version__, _seed(data / SEED_FILE) if data else bytes(SEED_BYTES))


def _seed(path: Path) -> bytes:
    try:
        seed = path.read_bytes()
        if len(seed) == SEED_BYTES:
            return seed
    except FileNotFoundError:
        pass
    seed = secrets.token_bytes(SEED_BYTES)
    write_file(path, seed)
    return seed

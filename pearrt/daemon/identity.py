"""This peer's lasting identity: an Ed25519 seed and the port it listens on, so that others find it again."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

from pearrt.atomic import write_file
from pearrt.errors import Corrupt

FIRST_PORT, LAST_PORT = 20_000, 60_999


@dataclass(frozen=True, slots=True)
class Identity:
    """`seed`: 32 bytes, secret. `port`: TCP for peers and UDP for the DHT, the same number."""

    seed: bytes
    port: int

    @classmethod
    def open(cls, path: Path) -> Identity:
        """The identity kept at `path`; makes one at the first start. Raises Corrupt for a damaged file."""
        try:
            fields = json.loads(path.read_bytes())
            identity = cls(bytes.fromhex(fields["seed"]), int(fields["port"]))
            if len(identity.seed) != 32 or not 0 < identity.port < 65536:
                raise ValueError("out of range")
        except FileNotFoundError:
            identity = cls(os.urandom(32), random.SystemRandom().randint(FIRST_PORT, LAST_PORT))
            identity.save(path)
        except (ValueError, KeyError, TypeError) as e:
            raise Corrupt(
                f"{path} is damaged: {e}.", hint="Remove it; this machine then gets a new peer id."
            ) from e
        return identity

    def save(self, path: Path) -> None:
        fields = {"seed": self.seed.hex(), "port": self.port}
        write_file(path, json.dumps(fields).encode() + b"\n")

"""What a bootstrapper carries: whose releases it installs, first places to look, and maybe an app to start.

Written into the one file when it is built; a bootstrapper that runs from the source tree carries nothing and
is told with --runtime. No secret is among it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pearrt.errors import BadLink, UserError
from pearrt.link import HostPort, Link


@dataclass(frozen=True, slots=True)
class Carried:
    """`runtime`: the link of pearrt's own releases. `nodes`: peers and DHT nodes. `app`: what to start."""

    runtime: Link | None = None
    nodes: tuple[HostPort, ...] = ()
    app: Link | None = None

    @classmethod
    def decode(cls, data: bytes) -> Carried:
        """From the JSON object that the builder wrote. Raises UserError for anything else."""
        try:
            value = json.loads(data)
            if not isinstance(value, dict) or value.keys() != {"app", "nodes", "runtime"}:
                raise ValueError("another shape")
            return cls(
                _link(value, "runtime"), tuple(map(HostPort.parse, value["nodes"])), _link(value, "app")
            )
        except (ValueError, TypeError, BadLink) as e:
            raise UserError(f"This bootstrapper is damaged: {e}.", hint="Get it again.") from e


def _link(value: Mapping[str, Any], name: str) -> Link | None:
    return Link.parse(value[name]) if value[name] else None

"""What this machine can hold: layers found by probing, and the tier that follows from them. Pure.

A  all layers, with the machine's own accounting of total memory and processes (cgroup)
B  every bar against reading, writing and reaching out; memory in total is measured, not bounded by the kernel
C  as B without Landlock: the empty root and the filter stand alone
D  nothing of the system's: only apps of kind `wasi` run, contained by their engine (Windows)
E  nothing that holds: refused
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Tier(StrEnum):
    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"

    @property
    def contains(self) -> bool:
        """Whether the system contains apps on this tier, of whatever kind."""
        return self <= Tier.C


_MEANING = {
    Tier.A: "apps are fully contained",
    Tier.B: "apps are contained; their memory in total is measured, not bounded by the kernel",
    Tier.C: "apps are contained by fewer layers: without Landlock, and with no bound on totals",
    Tier.D: "only apps of kind wasi run, with their engine as the one wall, and pages; others are refused",
    Tier.E: "apps are refused: nothing here contains them",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as the probe found it. `fix` says exactly what to do when it is missing; "" when nothing
    is."""

    name: str
    ok: bool
    detail: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a probe; `layers` in the order they are applied."""

    tier: Tier
    layers: tuple[Layer, ...]

    @property
    def held(self) -> frozenset[str]:
        """The names of the layers that hold."""
        return frozenset(layer.name for layer in self.layers if layer.ok)

    @property
    def missing(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if not layer.ok)

    def describe(self) -> str:
        """What was found, for a person: one line per layer, each missing one with its fix."""
        lines = [f"Sandbox tier {self.tier}: {_MEANING[self.tier]}."]
        for layer in self.layers:
            lines.append(
                f"  {'ok     ' if layer.ok else 'missing'}  {layer.name:<15} {layer.detail}".rstrip()
            )
            if not layer.ok and layer.fix:
                lines.append(f"           fix: {layer.fix}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The JSON of `pearrt doctor` and of the cache."""
        layers = [{"name": x.name, "ok": x.ok, "detail": x.detail, "fix": x.fix} for x in self.layers]
        return {"tier": str(self.tier), "layers": layers}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Report:
        """The inverse of `as_dict`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(Tier(value["tier"]), tuple(Layer(**layer) for layer in value["layers"]))


REQUIRED = ("system", "machine", "bubblewrap", "namespaces", "filter")


def decide(layers: tuple[Layer, ...]) -> Tier:
    """The tier of a set of layers; a required layer that was not reported counts as missing."""
    ok = {layer.name for layer in layers if layer.ok}
    if not set(REQUIRED) <= ok:
        return Tier.E
    if "landlock" not in ok:
        return Tier.C
    return Tier.A if "cgroup" in ok else Tier.B

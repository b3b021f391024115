"""pearrt's own versions in plain values, for `pearrt versions`, `pearrt doctor` and the local API. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pearrt.runtime.state import RuntimeState


def versions(state: RuntimeState, running: str, crashes: Sequence[str] = ()) -> dict[str, Any]:
    """`running`: the digest that the asking process runs, "" where pip or a package brought it. `crashes`:
    what was said of the last starts of the confirmed version, where they count against it. `versions` has one
    entry for each that is here, then one for each that failed, with the reason, the last one first."""
    standings = {state.current: "current", state.previous: "previous", state.trial: "trial"}
    found = [
        {"digest": digest, "version": state.name(digest), "standing": standing, "reason": ""}
        for digest, standing in standings.items()
        if digest
    ]
    found += [
        {"digest": digest, "version": state.name(digest), "standing": "failed", "reason": reason}
        for digest, reason in reversed(list(state.failed.items()))
    ]
    return {
        "self_updating": bool(running),
        "link": state.link,
        "versions": found,
        "crashes": list(crashes),
        "pin": state.pin,
        "channel": state.channel,
        "delay_s": state.delay_s,
        "deferred_until": state.deferred_until,
    }


def troubles(found: dict[str, Any]) -> list[str]:
    """What is wrong with the version that runs, in sentences."""
    said = []
    names = {version["standing"]: version["version"] for version in found["versions"]}
    if crashes := found.get("crashes"):
        count = "once" if len(crashes) == 1 else f"{len(crashes)} times"
        said.append(f"pearrt {names['current']} crashed at its start {count}; the last time: {crashes[-1]}")
        if "previous" in names:
            said.append(f"If that goes on, pearrt {names['previous']} takes its place.")
    if reason := found.get("revoked"):
        said.append(f"Its signers have revoked the pearrt that runs: {reason}")
    return said


def last_failure(found: dict[str, Any]) -> list[str]:
    """Which version was last found not to run here, and why, in a sentence."""
    failed = [version for version in found["versions"] if version["standing"] == "failed"]
    return [f"pearrt {version['version']} is not run here: {version['reason']}" for version in failed[:1]]

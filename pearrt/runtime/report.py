"""pearrt's own versions in plain values, for `pearrt versions` and the local API. Pure."""

from __future__ import annotations

from typing import Any

from pearrt.runtime.state import RuntimeState


def versions(state: RuntimeState, running: str) -> dict[str, Any]:
    """`running`: the digest that the asking process runs, "" where pip or a package brought it. `versions`
    has one entry for each that is here, then one for each that failed, with the reason."""
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
        "pin": state.pin,
        "channel": state.channel,
        "delay_s": state.delay_s,
        "deferred_until": state.deferred_until,
    }

"""Whether a release of pearrt is to be taken now: what the person and the admin said, pure.

In this order: what runs is not taken again; what failed here is by the person's wish only; a pin allows one
version only; then, unless the person asks for it now, a deferral holds everything back, and a delay what is
too young. A security release waits for no delay. A revoked release is never taken; whether it is, the trust
state says.
"""

from __future__ import annotations

from dataclasses import dataclass

from pearrt.runtime.state import RuntimeState


@dataclass(frozen=True, slots=True)
class Policy:
    """`pin`: the only version that may come, "" for any. `channel`: "" for the link's. `delay_s`: how old a
    release has to be. `deferred_until`: seconds since 1970."""

    pin: str = ""
    channel: str = ""
    delay_s: int = 0
    deferred_until: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """A release as far as the decision needs it. `digest` is hex; `released_at` in seconds since 1970."""

    digest: str
    version: str
    released_at: float
    security: bool = False


def policy_of(
    state: RuntimeState, *, pin: str | None = None, channel: str | None = None, delay_s: int | None = None
) -> Policy:
    """What `pearrt pin` and `update --defer` left in the state; what the settings say goes before it."""
    return Policy(
        state.pin if pin is None else pin,
        state.channel if channel is None else channel,
        state.delay_s if delay_s is None else delay_s,
        state.deferred_until,
    )


def obstacle(state: RuntimeState, offer: Offer, policy: Policy, now: float, *, eager: bool = False) -> str:
    """Why the offer is not taken now, in words; "" where it is. `eager`: the person asks for it now."""
    if offer.digest == state.current:
        return f"pearrt {offer.version} runs and is the newest."
    if state.trial:
        return f"pearrt {state.name(state.trial)} is on trial."
    if offer.digest in state.failed:
        reason = state.failed[offer.digest].rstrip(".")
        return f"pearrt {offer.version} failed here: {reason}. `pearrt update --retry` tries it again."
    if policy.pin and offer.version != policy.pin:
        return f"pearrt is pinned to {policy.pin}; the newest is {offer.version}."
    if eager:
        return ""
    if now < policy.deferred_until:
        return f"pearrt {offer.version} is deferred for {_span(policy.deferred_until - now)} more."
    if not offer.security and now < offer.released_at + policy.delay_s:
        return f"pearrt {offer.version} is taken in {_span(offer.released_at + policy.delay_s - now)}."
    return ""


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"

"""Which of a channel's releases one machine takes: not always the newest.

The newest release of the channel, unless it was revoked, needs a newer pearrt, or is rolled out in stages and
has not reached this machine; then the release before it, if the signers named one and nothing stands against
that. A security release reaches everyone at once. What stood in the way is told in words.
"""

from __future__ import annotations

from dataclasses import dataclass

from pearrt.trust.app import TrustedApp
from pearrt.trust.release import Release
from pearrt.trust.rollout import bucket_of, percent_at


@dataclass(frozen=True, slots=True)
class Machine:
    """What of a machine decides: what it can run, the most particular first; its pearrt; its random seed."""

    platforms: tuple[str, ...]
    runtime: str
    seed: bytes


@dataclass(frozen=True, slots=True)
class Choice:
    """`release` is what to install, None where there is nothing; `reason` why it is not the `newest`."""

    release: Release | None
    newest: Release | None
    reason: str = ""


def choose(trusted: TrustedApp, channel: str, machine: Machine, now: float, *, eager: bool = False) -> Choice:
    """The release that `machine` takes now. `eager`: the person asked for the newest, rolled out or not."""
    newest = trusted.release(channel, machine.platforms)
    candidate, reason = newest, ""
    while candidate is not None:
        obstacle = _obstacle(trusted, candidate, machine, now, eager)
        if not obstacle:
            break
        reason, candidate = reason or obstacle, candidate.before
    return Choice(candidate, newest, reason)


def _obstacle(trusted: TrustedApp, release: Release, machine: Machine, now: float, eager: bool) -> str:
    """Why this machine does not take `release`; empty where it does."""
    revocation = trusted.revoked(release.index_digest)
    if revocation is not None:
        return f"{release.name} {release.version} was revoked by its signers: {revocation.reason}"
    if release.min_runtime and _numbers(release.min_runtime) > _numbers(machine.runtime):
        return (
            f"{release.name} {release.version} needs pearrt {release.min_runtime}; this is {machine.runtime}."
        )
    if eager or release.security or release.before is None:
        return ""
    percent = percent_at(release.rollout, max(now, trusted.time_floor))
    if percent > bucket_of(trusted.root.app_id, release.index_digest, machine.seed):
        return ""
    return (
        f"{release.name} {release.version} is rolled out in stages; it has reached {percent} % of machines,"
        " not yet this one."
    )


def _numbers(version: str) -> tuple[int, ...]:
    """The leading dotted numbers of a version, without closing zeros: 1.0 is 1."""
    found = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if digits:
            found.append(int(digits))
        if digits != part:
            break
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)

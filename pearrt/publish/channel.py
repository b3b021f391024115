"""Channels with signers of their own: given, handed over and taken back by the app's signers.

Giving takes two statements that are published together: the app's signers delegate the channel, and its own
signers say what is current in it. From then on releases of the channel need its signers only; revoking them
still needs the app's. To promote a release to another channel is to name the same index there: nothing is
uploaded, and whoever has the one has the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pearrt.crypto.keyfile import PublicKey
from pearrt.errors import UserError
from pearrt.publish.app import authority
from pearrt.publish.draft import Draft
from pearrt.publish.release import channel_draft, put_releases, targets_draft
from pearrt.trust.app import TrustedApp
from pearrt.trust.delegation import MAX_CHANNELS, Delegation, is_channel
from pearrt.trust.envelope import MAX_SIGNATURES
from pearrt.trust.metadata import MAX_SNAPSHOT_FILES, Signer
from pearrt.trust.rollout import RolloutStep


@dataclass(frozen=True, slots=True)
class ChannelChange:
    """`targets` wants the app's signers, `channel` the channel's new ones; both are published together."""

    targets: Draft
    channel: Draft


def delegate_channel(
    trusted: TrustedApp,
    name: str,
    signers: Sequence[PublicKey],
    threshold: int,
    *,
    now: float,
) -> ChannelChange:
    """Drafts that give a channel to `threshold` of `signers`, or hand it over to them, with its releases.

    Raises UserError for a name or threshold that won't do, and for the heartbeat's key among the signers.
    """
    if not is_channel(name):
        raise UserError(f"{name!r} is no name for a channel.", hint="Write it like beta or nightly.")
    if not 1 <= threshold <= min(len(signers), MAX_SIGNATURES):
        raise UserError(f"A threshold of {threshold} does not fit {len(signers)} signers.")
    publics = {signer.key for signer in signers}
    online = {signer.public for signer in trusted.root.authorities["timestamp"].signers.values()}
    if len(publics) != len(signers) or publics & online:
        raise UserError("A key is named twice among the signers and the heartbeat.")
    others = [each for each in trusted.targets.delegations if each.name != name]
    files = trusted.snapshot.files.keys() | {f"{name}.json"}
    if len(others) >= MAX_CHANNELS or len(files) > MAX_SNAPSHOT_FILES:
        raise UserError(
            f"Up to {MAX_CHANNELS} channels have signers of their own, {MAX_SNAPSHOT_FILES - 1} in all time."
        )
    team = authority([Signer(signer.key, signer.comment) for signer in signers], threshold)
    kept = [release for release in trusted.targets.releases if release.channel != name]
    moved = [release for release in trusted.releases if release.channel == name]
    channel = channel_draft(trusted, name, moved, now, authority=team)
    before = trusted.delegation_of(name)
    given = Delegation(name, team, (f"{name}/*",), since=before.since if before else channel.version)
    return ChannelChange(targets_draft(trusted, kept, now, delegations=[*others, given]), channel)


def take_channel_back(trusted: TrustedApp, name: str, *, now: float) -> Draft:
    """The draft after which the app's signers speak for the channel again, with its releases as they are."""
    if name not in trusted.channels:
        raise UserError(f"The channel {name!r} has no signers of its own.")
    others = [each for each in trusted.targets.delegations if each.name != name]
    releases = trusted.targets.releases + trusted.channels[name].releases
    return targets_draft(trusted, releases, now, delegations=others)


def promote(
    trusted: TrustedApp,
    source: str,
    target: str,
    *,
    now: float,
    rollout: Sequence[RolloutStep] = (),
    security: bool = False,
    notes: str = "",
) -> Draft:
    """The draft that makes the releases of `source`, for all their platforms, current in `target` too.

    The signers of `target` sign it. Raises UserError where there is nothing to promote, or it was revoked.
    """
    found = [release for release in trusted.releases if release.channel == source]
    if not found or source == target:
        raise UserError(f"There is no release in the channel {source!r} to promote to {target!r}.")
    if any(trusted.revoked(release.index_digest) for release in found):
        raise UserError(f"The release in {source!r} is revoked.", hint="Release another one first.")
    if security and rollout:
        raise UserError("A security release reaches everyone at once.", hint="Leave its rollout out.")
    promoted = [
        replace(
            release,
            channel=target,
            sequence=trusted.targets_of(target).version + 1,
            notes=notes or release.notes,
            released_at=now,
            security=security or release.security,
            rollout=tuple(rollout),
            before=None,
        )
        for release in found
    ]
    return put_releases(trusted, promoted, now)

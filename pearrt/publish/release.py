"""A new release: targets metadata of the next version, in which some targets are replaced.

All variants of a release, one for each platform, are named by one version of the metadata: nobody ever sees
half of them. A channel with signers of its own has metadata of its own; its signers are asked then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pearrt.errors import ProtocolViolation, UserError
from pearrt.publish.app import OFFLINE_LIFETIME_S
from pearrt.publish.draft import Draft, payload
from pearrt.trust.app import TrustedApp
from pearrt.trust.delegation import Delegation, delegation_fields
from pearrt.trust.log import FIELD as LOG
from pearrt.trust.log import empty_head, head_fields, next_head, statement_of
from pearrt.trust.metadata import Authority, Targets
from pearrt.trust.metadata_set import MAX_CHANNEL_BYTES
from pearrt.trust.release import MAX_TARGETS, Release
from pearrt.trust.revocation import FIELD as REVOKED
from pearrt.trust.revocation import Revocation, revocation_fields
from pearrt.trust.rollout import BUCKETS, RolloutStep, percent_at
from pearrt.trust.shape import Shape
from pearrt.trust.threshold import valid_signatures


@dataclass(frozen=True, slots=True)
class Variant:
    """A staged bundle for one platform: the digest, size in bytes and blocks of its index."""

    platform: str
    index_digest: bytes
    index_size: int
    index_blocks: tuple[bytes, ...]


def make_releases(
    trusted: TrustedApp,
    variants: Sequence[Variant],
    *,
    name: str,
    version: str,
    now: float,
    channel: str = "stable",
    notes: str = "",
    min_runtime: str = "",
    security: bool = False,
    rollout: Sequence[RolloutStep] = (),
) -> Draft:
    """The draft that puts staged bundles into a channel, for whoever may sign that channel.

    Raises UserError for what a release can't hold: a version with a space, notes that are too long, …
    """
    if not variants or len({variant.platform for variant in variants}) != len(variants):
        raise UserError("A release has at least one variant, and no two for one platform.")
    if security and rollout:
        raise UserError("A security release reaches everyone at once.", hint="Leave its rollout out.")
    releases = [
        Release(
            channel=channel,
            platform=variant.platform,
            name=name,
            version=version,
            sequence=trusted.targets_of(channel).version + 1,
            index_digest=variant.index_digest,
            index_size=variant.index_size,
            index_blocks=variant.index_blocks,
            notes=notes,
            released_at=now,
            min_runtime=min_runtime,
            security=security,
            rollout=tuple(rollout),
        )
        for variant in variants
    ]
    return put_releases(trusted, releases, now)


def put_releases(
    trusted: TrustedApp,
    releases: Sequence[Release],
    now: float,
    *,
    revocations: Iterable[Revocation] | None = None,
) -> Draft:
    """The draft in which `releases` of one channel take their paths' places, for that channel's signers.

    Those with a rollout name what they replace. `revocations` are the app's signers' alone.
    """
    (channel,) = {release.channel for release in releases}
    current = {release.path: release for release in trusted.targets_of(channel).releases}
    for release in releases:
        before = _settled(trusted, current.get(release.path), now) if release.rollout else None
        current[release.path] = replace(release, before=before)
        _check(current[release.path])
    if channel not in trusted.channels:
        return targets_draft(trusted, current.values(), now, revocations=revocations)
    if revocations is not None:
        raise UserError(f"The signers of {channel} cannot revoke.", hint="That takes the app's signers.")
    return channel_draft(trusted, channel, current.values(), now)


def targets_draft(
    trusted: TrustedApp,
    releases: Iterable[Release],
    now: float,
    *,
    authority: Authority | None = None,
    revocations: Iterable[Revocation] | None = None,
    delegations: Iterable[Delegation] | None = None,
) -> Draft:
    """The next targets metadata, naming exactly `releases`; for the current signers by default.

    Revocations and delegated channels stay as they are unless others are given.
    """
    version = trusted.targets.version + 1
    signed = _targets_fields(releases)
    delegated = tuple(trusted.targets.delegations if delegations is None else delegations)
    if delegated:
        signed["delegations"] = delegation_fields(delegated)
    revoked = tuple(trusted.targets.revocations if revocations is None else revocations)
    if revoked:
        signed[REVOKED] = revocation_fields(revoked)
    signed[LOG] = _log_fields(trusted, trusted.targets, trusted.authority_of())
    blob = payload("targets", trusted.root.app_id, version, now + OFFLINE_LIFETIME_S, **signed)
    return Draft("targets", version, blob, (authority or trusted.root.authorities["targets"],))


def channel_draft(
    trusted: TrustedApp,
    channel: str,
    releases: Iterable[Release],
    now: float,
    *,
    authority: Authority | None = None,
) -> Draft:
    """The next metadata of a channel with signers of its own, naming exactly `releases`; for those signers.

    `authority` are its signers to be. A new channel goes on where the targets and its last life ended, so
    that what its releases are called by, their sequence, never falls. The draft's role is the channel.
    """
    current, signed = trusted.channels.get(channel), _targets_fields(releases)
    if current is None:
        known = trusted.snapshot.files.get(f"{channel}.json")
        version = max(trusted.targets.version, known.version if known else 0) + 1
        signed[LOG] = head_fields(empty_head())
    else:
        version = current.version + 1
        signed[LOG] = _log_fields(trusted, current, trusted.authority_of(channel))
    blob = payload("targets", trusted.root.app_id, version, now + OFFLINE_LIFETIME_S, **signed)
    if len(blob) > MAX_CHANNEL_BYTES // 2:
        raise UserError(f"The releases of {channel} take too much room.", hint="Shorter notes take less.")
    return Draft(channel, version, blob, (authority or trusted.authority_of(channel),))


def _targets_fields(releases: Iterable[Release]) -> dict[str, Any]:
    targets = {release.path: release.as_target() for release in releases}
    if len(targets) > MAX_TARGETS:
        raise UserError(f"There are at most {MAX_TARGETS} releases at a time.")
    return {"targets": targets}


def _log_fields(trusted: TrustedApp, current: Targets, signers: Authority) -> dict[str, Any]:
    """The head of the log of all before the version that follows `current`."""
    envelope = current.envelope
    log = trusted.metadata.logs.get(envelope.name, b"")
    return head_fields(next_head(statement_of(envelope), log, valid_signatures(envelope, signers)))


def _settled(trusted: TrustedApp, current: Release | None, now: float) -> Release | None:
    """What a new rollout falls back on: the newest release that everyone may have, without its own past."""
    while current is not None and (
        percent_at(current.rollout, now) < BUCKETS or trusted.revoked(current.index_digest)
    ):
        current = current.before
    return current and replace(current, rollout=(), before=None)


def _check(release: Release) -> None:
    """Holds the release against the verifier's own rules."""
    try:
        parsed = Release.parse(release.path, Shape(release.as_target(), "The release"), release.sequence)
    except ProtocolViolation as e:
        raise UserError(f"This cannot be released. {e.message}.") from e
    if parsed is None:
        raise UserError(
            f"{release.path!r} does not name a channel and a platform.",
            hint="Write them like stable and linux-x86_64.",
        )

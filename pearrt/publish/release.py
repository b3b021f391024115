"""A new release: targets metadata of the next version, in which some targets are replaced.

All variants of a release, one for each platform, are named by one version of the metadata: nobody ever sees
half of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pearrt.errors import ProtocolViolation, UserError
from pearrt.publish.app import OFFLINE_LIFETIME_S
from pearrt.publish.draft import Draft, payload
from pearrt.trust.app import TrustedApp
from pearrt.trust.log import FIELD as LOG
from pearrt.trust.log import head_fields, next_head, statement_of
from pearrt.trust.metadata import Authority
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


def make_release(
    trusted: TrustedApp,
    *,
    name: str,
    version: str,
    index_digest: bytes,
    index_size: int,
    index_blocks: tuple[bytes, ...],
    now: float,
    channel: str = "stable",
    platform: str = "any",
    notes: str = "",
    lifetime_s: float = OFFLINE_LIFETIME_S,
    min_runtime: str = "",
    security: bool = False,
    rollout: Sequence[RolloutStep] = (),
) -> Draft:
    """`make_releases` of one variant."""
    return make_releases(
        trusted,
        [Variant(platform, index_digest, index_size, index_blocks)],
        name=name,
        version=version,
        now=now,
        channel=channel,
        notes=notes,
        lifetime_s=lifetime_s,
        min_runtime=min_runtime,
        security=security,
        rollout=rollout,
    )


def make_releases(
    trusted: TrustedApp,
    variants: Sequence[Variant],
    *,
    name: str,
    version: str,
    now: float,
    channel: str = "stable",
    notes: str = "",
    lifetime_s: float = OFFLINE_LIFETIME_S,
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
            sequence=trusted.targets.version + 1,
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
    return put_releases(trusted, releases, now, lifetime_s)


def put_releases(
    trusted: TrustedApp,
    releases: Sequence[Release],
    now: float,
    lifetime_s: float = OFFLINE_LIFETIME_S,
    *,
    revocations: Iterable[Revocation] | None = None,
) -> Draft:
    """The draft in which `releases` take their paths' places. Those with a rollout name what they replace."""
    current = {release.path: release for release in trusted.releases}
    for release in releases:
        before = _settled(trusted, current.get(release.path), now) if release.rollout else None
        current[release.path] = replace(release, before=before)
        _check(current[release.path])
    return targets_draft(trusted, current.values(), now + lifetime_s, revocations=revocations)


def withdraw(trusted: TrustedApp, path: str, now: float, lifetime_s: float = OFFLINE_LIFETIME_S) -> Draft:
    """The draft that takes `<channel>/<platform>` out. Raises UserError where there is no such release."""
    kept = [release for release in trusted.releases if release.path != path]
    if len(kept) == len(trusted.releases):
        raise UserError(f"There is no release {path!r} to withdraw.")
    return targets_draft(trusted, kept, now + lifetime_s)


def targets_draft(
    trusted: TrustedApp,
    releases: Iterable[Release],
    expires: float,
    *,
    authority: Authority | None = None,
    revocations: Iterable[Revocation] | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Draft:
    """The next targets metadata, naming exactly `releases`; for the current signers by default.

    Revocations stay as they are unless others are given. `fields` are more fields of the signed part.
    """
    version = trusted.targets.version + 1
    signed: dict[str, Any] = {"targets": {release.path: release.as_target() for release in releases}}
    if len(signed["targets"]) > MAX_TARGETS:
        raise UserError(f"An app has at most {MAX_TARGETS} releases at a time.")
    revoked = tuple(trusted.targets.revocations if revocations is None else revocations)
    if revoked:
        signed[REVOKED] = revocation_fields(revoked)
    signed[LOG] = head_fields(
        next_head(
            statement_of(trusted.targets.envelope),
            trusted.metadata.logs.get("targets", b""),
            valid_signatures(trusted.targets.envelope, trusted.root.authorities["targets"]),
        )
    )
    signed |= fields or {}
    blob = payload("targets", trusted.root.app_id, version, expires, **signed)
    return Draft("targets", version, blob, (authority or trusted.root.authorities["targets"],))


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

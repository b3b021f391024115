"""A new release: targets metadata of the next version, in which one target is replaced."""

from __future__ import annotations

from collections.abc import Iterable

from pearrt.errors import ProtocolViolation, UserError
from pearrt.publish.app import OFFLINE_LIFETIME_S
from pearrt.publish.draft import Draft, payload
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata import Authority
from pearrt.trust.release import Release
from pearrt.trust.shape import Shape


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
) -> Draft:
    """The draft that puts a staged bundle's index in its channel; the signers of `trusted` sign it.

    Raises UserError for what a release can't hold: a version with a space, notes that are too long, …
    """
    sequence = trusted.targets.version + 1
    release = Release(
        channel, platform, name, version, sequence, index_digest, index_size, index_blocks, notes, now
    )
    _check(release)
    others = [other for other in trusted.releases if other.path != release.path]
    return targets_draft(trusted, [*others, release], now + lifetime_s)


def withdraw(trusted: TrustedApp, path: str, now: float, lifetime_s: float = OFFLINE_LIFETIME_S) -> Draft:
    """The draft that takes `<channel>/<platform>` out. Raises UserError where there is no such release."""
    kept = [release for release in trusted.releases if release.path != path]
    if len(kept) == len(trusted.releases):
        raise UserError(f"There is no release {path!r} to withdraw.")
    return targets_draft(trusted, kept, now + lifetime_s)


def targets_draft(
    trusted: TrustedApp, releases: Iterable[Release], expires: float, *, authority: Authority | None = None
) -> Draft:
    """The next targets metadata, naming exactly `releases`; for the current signers by default."""
    version = trusted.targets.version + 1
    targets = {release.path: release.as_target() for release in releases}
    signed = payload("targets", trusted.root.app_id, version, expires, targets=targets)
    return Draft("targets", version, signed, (authority or trusted.root.authorities["targets"],))


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

"""What a request is drafted from: the app's metadata as this machine knows it, and what was staged here."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pearrt.app.handover import is_publisher
from pearrt.app.library import Library
from pearrt.app.stage import staged
from pearrt.errors import NoSuchApp, UserError
from pearrt.link import encode_key
from pearrt.paths import Home
from pearrt.publish.desk import Desk
from pearrt.publish.draft import Draft
from pearrt.publish.publication import Publication
from pearrt.publish.release import Variant, make_releases, put_releases
from pearrt.publish.withdraw import reinstate, revoke, revoked_with
from pearrt.trust.app import TrustedApp
from pearrt.trust.release import Release
from pearrt.trust.revocation import Action
from pearrt.trust.rollout import RolloutStep

MIN_DIGEST_CHARS = 8


@dataclass(frozen=True, slots=True)
class Terms:
    """What a release says besides its bundles."""

    channel: str = "stable"
    version: str = ""
    notes: str = ""
    security: bool = False
    min_runtime: str = ""
    rollout: tuple[RolloutStep, ...] = ()


def trusted_here(home: Home, app_key: bytes) -> TrustedApp | None:
    """What this machine knows of the app: as its publisher, else as its user. Raises Corrupt."""
    if is_publisher(home, Library(home.apps).folder(app_key)):
        return Publication.open(home.publishing / encode_key(app_key)).trusted
    state = Library(home.apps).folder(app_key).trust
    return None if state is None else TrustedApp.restore(app_key, state)


def base_of(home: Home, app_key: bytes) -> TrustedApp:
    """As `trusted_here`. Raises NoSuchApp where nothing is known."""
    trusted = trusted_here(home, app_key)
    if trusted is None:
        raise NoSuchApp(
            f"Nothing is known of {encode_key(app_key)} on this machine.",
            hint="`pearrt info LINK` looks for it; `pearrt app list` shows what is published from here.",
        )
    return trusted


def draft_release(trusted: TrustedApp, home: Home, bundles: Sequence[str], terms: Terms, now: float) -> Draft:
    """The draft that releases staged bundles, one for each platform. Raises UserError."""
    records = [staged(home, bundle) for bundle in bundles]
    names, versions = {record["name"] for record in records}, {record["version"] for record in records}
    if len(names) != 1 or (len(versions) != 1 and not terms.version):
        raise UserError(
            "The bundles are of different apps or versions.", hint="Stage one version for each platform."
        )
    return make_releases(
        trusted,
        [_variant(record) for record in records],
        name=names.pop(),
        version=terms.version or versions.pop(),
        now=now,
        channel=terms.channel,
        notes=terms.notes,
        min_runtime=terms.min_runtime,
        security=terms.security,
        rollout=terms.rollout,
    )


def draft_revocation(
    trusted: TrustedApp, home: Home, named: str, *, action: Action | None, reason: str, now: float
) -> Draft:
    """The draft that revokes all bundles of a version, or one by its digest; without an action, reinstates
    them. Raises UserError."""
    digests = sorted({release.index_digest for release in _named(trusted, home, named)})
    if action is not None:
        return revoke(trusted, digests, action, reason, now=now)
    return reinstate(trusted, [digest for digest in digests if trusted.revoked(digest)] or digests, now=now)


def draft_return(
    trusted: TrustedApp,
    home: Home,
    named: str,
    terms: Terms,
    *,
    now: float,
    revoking: tuple[Action, str] | None = None,
) -> Draft:
    """The draft that makes an older version current again, for all platforms it was made for, as a higher
    version of the metadata: nobody's protection against rollback stands in its way.

    `revoking` also takes back what it replaces, where the app's signers speak for the channel. Raises
    UserError.
    """
    older = {release.platform: release for release in _named(trusted, home, named)}
    current = {release.platform: release for release in trusted.releases if release.channel == terms.channel}
    if not current:
        raise UserError(f"The channel {terms.channel!r} has no release to go back from.")
    if left := current.keys() - older.keys():
        raise UserError(
            f"{named!r} is not at hand for {', '.join(sorted(left))}.",
            hint="Stage it again for every platform, or name its digest.",
        )
    revocations = None
    if revoking is not None:
        left_behind = {release.index_digest for release in current.values()}
        left_behind -= {release.index_digest for release in older.values()}
        revocations = revoked_with(trusted, sorted(left_behind), *revoking)
    for release in older.values():
        if trusted.revoked(release.index_digest):
            raise UserError(f"{release.version} is revoked itself.", hint="Reinstate it, or go back further.")
    again = [_again(older[platform], terms, trusted, now) for platform in sorted(current)]
    return put_releases(trusted, again, now, revocations=revocations)


def _again(release: Release, terms: Terms, trusted: TrustedApp, now: float) -> Release:
    return replace(
        release,
        channel=terms.channel,
        version=terms.version or release.version,
        notes=terms.notes,
        sequence=trusted.targets_of(terms.channel).version + 1,
        released_at=now,
        rollout=(),
        before=None,
    )


def _named(trusted: TrustedApp, home: Home, named: str) -> list[Release]:
    """Releases by version or by the beginning of their digest: current ones, those that requests on this
    machine made, and what was staged here.

    Raises UserError where nothing is found.
    """
    found: dict[str, Release] = {}
    for release in _known(trusted, home):
        digest = release.index_digest.hex()
        if release.version == named or (len(named) >= MIN_DIGEST_CHARS and digest.startswith(named)):
            found.setdefault(digest, release)
    if not found and len(named) == 64:
        with contextlib.suppress(ValueError):
            found[named] = _unknown(bytes.fromhex(named))
    if not found:
        raise UserError(
            f"No release {named[:64]!r} is known here.", hint="Name the whole digest of its index, 64 digits."
        )
    return list(found.values())


def _known(trusted: TrustedApp, home: Home) -> Iterable[Release]:
    for release in trusted.releases:
        yield release
        if release.before is not None:
            yield release.before
    for request in Desk.of(home.ceremonies, trusted.app_key).committed():
        yield from request.releases
    names = {release.name for release in trusted.releases}
    folder = home.data / "staged"
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        record = json.loads(path.read_bytes())
        if record["name"] in names:
            yield _release(_variant(record), record["name"], record["version"])


def _variant(record: dict[str, Any]) -> Variant:
    return Variant(
        record["platform"],
        bytes.fromhex(record["digest"]),
        record["size"],
        tuple(map(bytes.fromhex, record["index_blocks"])),
    )


def _release(variant: Variant, name: str, version: str) -> Release:
    return Release(
        "stable",
        variant.platform,
        name,
        version,
        1,
        variant.index_digest,
        variant.index_size,
        variant.index_blocks,
        "",
        0.0,
    )


def _unknown(digest: bytes) -> Release:
    """A release of which nothing but the digest is known: enough to revoke it."""
    return _release(Variant("any", digest, 0, ()), "", "")

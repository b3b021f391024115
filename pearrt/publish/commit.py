"""The last step of a ceremony: a signed request becomes what everyone updates to.

Whoever holds the app's heartbeat key can take this step, be it the one that confirms the app today or the one
that the signed root names. Everything is verified first, exactly as peers will verify it; then the new state
appears in one step. Killed anywhere, the step is simply taken again.
"""

from __future__ import annotations

from pathlib import Path

from pearrt.errors import UserError
from pearrt.link import encode_key
from pearrt.publish.ceremony import signed_blobs
from pearrt.publish.desk import Desk
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.publication import Publication, is_published
from pearrt.publish.request import Request, current_of
from pearrt.publish.waiting import Waiting
from pearrt.trust.app import TrustedApp


def commit(request: Request, publishing: Path, desk: Desk, now: float) -> Publication | None:
    """Publishes a signed request from this machine; None where the heartbeat key lies on another one.

    Where the app has witnesses it waits for them, as the publication's `waiting`.
    Raises ThresholdNotMet with who is awaited, BadSignature, or UserError where something else was published
    since the request was made.
    """
    blobs = signed_blobs(request)
    root = request.root
    publication = None
    if is_published(publishing, request.app_key):
        publication = Publication.open(publishing / encode_key(request.app_key))
    if publication is not None and not _has_fallen_behind(publication, request):
        heartbeat = publication.heartbeat
        if root is not None and not heartbeat.is_named_by(root):
            waiting = desk.heartbeat_for(root)
            if waiting is None:
                return None
            heartbeat = waiting
        made = publication.commit_signed(request.drafts, blobs, now, heartbeat=heartbeat)
    else:
        waiting = None if root is None else desk.heartbeat_for(root)
        if waiting is None:
            return None
        made = _begun(request, blobs, publishing, waiting, now)
    desk.forget_heartbeat(made.heartbeat)
    return made


def _has_fallen_behind(publication: Publication, request: Request) -> bool:
    """Whether the app moved to another machine since, and comes back now."""
    return request.base is not None and publication.trusted.root_version < request.base.root_version


def _begun(
    request: Request, blobs: dict[str, bytes], publishing: Path, heartbeat: Heartbeat, now: float
) -> Publication:
    """A new app, or one that moves to this machine, as its root names a key that lies here only."""
    base = request.base
    if base is None:
        trusted = TrustedApp.first(
            request.app_key, heartbeat.beat([blobs["root"]], blobs["targets"], now), now
        )
    else:
        metadata = heartbeat.beat((*base.metadata.roots, blobs["root"]), blobs["targets"], now, base.metadata)
        trusted = base.update(metadata, now, allow_expired=True, unwitnessed=True)
        waiting = Waiting.of(base, trusted)
        if not waiting.is_complete:
            return Publication.begin(publishing, base, heartbeat, instead=True, waiting=waiting)
        trusted = base.update(waiting.metadata, now, allow_expired=True)
    return Publication.begin(publishing, trusted, heartbeat, instead=base is not None)


def check_current(request: Request, trusted: TrustedApp | None) -> None:
    """Raises UserError where this machine knows of something newer than what the request follows."""
    if trusted is None:
        return
    base = request.base
    if base is None:
        raise UserError("The app exists already: its first root is signed.")
    for role in {"root": 0, "targets": 0, **{draft.role: 0 for draft in request.drafts}}:
        known, followed = current_of(trusted, role), current_of(base, role)
        if known is None or followed is None:
            continue
        if known.version > followed.version:
            raise UserError(
                f"The request follows {role} {followed.version}, but {role} {known.version} is out already.",
                hint="It is out of date: have it made anew.",
            )
        if known.version == followed.version and known.envelope.payload != followed.envelope.payload:
            raise UserError(
                f"The request follows another {role} {followed.version} than the one this machine trusts.",
                hint="Sign nothing: two statements of one version were signed. Talk to the other signers.",
            )


def is_committed(request: Request, trusted: TrustedApp | None) -> bool:
    """Whether what this machine trusts is what the request asked for."""
    found = [current_of(trusted, draft.role) for draft in request.drafts]
    return all(
        current is not None and current.envelope.payload == draft.payload
        for current, draft in zip(found, request.drafts, strict=True)
    )

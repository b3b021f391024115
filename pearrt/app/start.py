"""One start of one release: what a channel is opened for, and what the person's side is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pearrt.app import granting
from pearrt.app.followed import FollowedApp
from pearrt.app.freshness import standing
from pearrt.app.launch import Launchable
from pearrt.app.record import Installed
from pearrt.bundle.manifest import Manifest
from pearrt.sandbox.policy import Permissions
from pearrt.trust.app import TrustedApp


@dataclass(frozen=True, slots=True)
class Start:
    """Fixed before the app runs. `index_digest` is hex; `asked` is what the release's manifest asks for."""

    app_key: bytes
    version: str = ""
    index_digest: str = ""
    asked: Permissions = field(default_factory=Permissions)


def launchable_of(
    app: FollowedApp,
    trusted: TrustedApp,
    installed: Installed,
    manifest: Manifest,
    *,
    channel_socket: Path,
    issue: Callable[[Start], bytes],
    warning: str,
) -> Launchable:
    """An installed release, ready to start. `issue` gives the token of its channel, `warning` is why its
    signers warn of it, or ""."""
    channel, folder, pending = app.link.channel, app.folder, app.pending
    asked = granting.asked(manifest)
    now_is = standing(app, trusted, time.time())
    return Launchable(
        key_text=app.link.key_text,
        version=installed.version,
        folder=folder.tree(installed.index_digest),
        data=folder.data,
        bytecode=folder.bytecode(installed.index_digest),
        manifest=manifest,
        granted=granting.covers(folder, manifest),
        signers=tuple(signer.name for signer in trusted.signers_of(channel)),
        signed_by=tuple(signer.name for signer in trusted.signed_by_of(channel)),
        threshold=trusted.authority_of(channel).threshold,
        freshness=now_is["freshness"],
        confirmed_at=now_is["confirmed_at"],
        channel_socket=channel_socket,
        channel_token=issue(Start(app.link.app_key, installed.version, installed.index_digest, asked)),
        confirmed_by=now_is["confirmed_by"],
        newer_at=now_is["newer_at"],
        contradiction=now_is["contradiction"],
        pending_version=pending.version if pending else "",
        pending_manifest=pending.manifest if pending else None,
        pending_declined=pending is not None and granting.declined(folder, pending.manifest),
        refused=granting.refused(folder),
        news=folder.news,
        revoked=warning,
    )

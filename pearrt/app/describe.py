"""One app in words and numbers, for `list`, `info` and the local API."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pearrt.app import granting
from pearrt.app.followed import FollowedApp, current_choice, current_release, read_index
from pearrt.app.freshness import standing
from pearrt.app.library import AppFolder
from pearrt.app.revoked import revocation_of
from pearrt.bundle.manifest import Manifest
from pearrt.errors import PearrtError, Unsupported
from pearrt.link import Link
from pearrt.sandbox.storage import UNMEASURABLE, used_bytes
from pearrt.store.service import Store
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MetadataSet


def summary(app: FollowedApp, running: int) -> dict[str, Any]:
    """What `pearrt list` shows of an app whose metadata is trusted."""
    installed, release = app.folder.installed, current_release(app)
    name = installed.name if installed else release.name if release else ""
    return {
        "link": str(Link(app.link.app_key)),
        "name": name,
        "version": installed.version if installed else None,
        "newest": release.version if release else None,
        "running": running,
        "seeding": app.seeding,
    } | _standing(app)


def _standing(app: FollowedApp) -> dict[str, Any]:
    if app.trusted is None:
        return {
            "freshness": "unknown",
            "confirmed_at": 0,
            "confirmed_by": 0,
            "in_dht": False,
            "newer_at": None,
            "contradiction": "",
        }
    return standing(app, app.trusted, time.time())


def details(app: FollowedApp, trusted: TrustedApp, running: int) -> dict[str, Any]:
    """What `pearrt info` shows of what is signed and of the peers. Times are Unix seconds, sizes bytes."""
    channel = app.link.channel
    previous, release = app.folder.previous, current_release(app)
    peers = app.members.peers
    return summary(app, running) | {
        "link": str(app.link),
        "signers": [signer.name for signer in trusted.signers_of(channel)],
        "signed_by": [signer.name for signer in trusted.signed_by_of(channel)],
        "threshold": trusted.authority_of(channel).threshold,
        "witnesses": witnesses(trusted, channel),
        "channel": channel,
        "revoked": _revoked(app),
        "root_version": trusted.root_version,
        "sequence": release.sequence if release else None,
        "notes": release.notes if release else "",
        "digest": release.index_digest.hex() if release else None,
        "previous": previous.version if previous else None,
        "pending": app.pending.version if app.pending else None,
        "equivocation": app.folder.equivocation is not None,
        "sources": {peer_id.hex(): count for peer_id, count in app.members.bytes_from.items()},
        "bytes_in": sum(app.members.bytes_from.values()),
        "bytes_out": sum(app.members.bytes_to.values()),
        "peers": [
            {
                "peer_id": peer.peer_id.hex(),
                "address": list(peer.address),
                "bytes_in": peer.bytes_from,
                "bytes_out": peer.bytes_to,
            }
            for peer in peers
        ],
    }


def held_back(app: FollowedApp, store: Store) -> str:
    """Why this machine does not take the newest release of the channel; "" where it does, and for one that
    waits for the person's yes only."""
    choice, installed = current_choice(app), app.folder.installed
    if choice is None or choice.newest is None:
        return ""
    newest = choice.newest.index_digest.hex()
    if installed is not None and installed.index_digest == newest and not _revoked(app):
        return ""
    if choice.reason:
        return choice.reason
    name = f"{choice.newest.name} {choice.newest.version}"
    if installed is not None and newest == app.folder.skipped:
        return f"You went back from {name}. `pearrt run --update` takes it again."
    try:
        granting.asked(read_index(store, choice.newest.index_digest, choice.newest.index_blocks).manifest)
    except Unsupported as e:
        return f"{e.message} {e.hint}"
    except PearrtError:
        pass  # its index has not come yet
    return ""


def described(manifests: Sequence[Manifest]) -> list[str]:
    """What the last of these may do, in words; nothing for what this version does not know."""
    try:
        return granting.asked(manifests[-1]).describe() if manifests else []
    except Unsupported:
        return []  # `held_back` says so


def places(folder: AppFolder) -> dict[str, str]:
    """Where the app's private files and its own log lie, as far as there are any."""
    found = {"data": folder.data, "log": folder.log}
    return {name: str(path) for name, path in found.items() if path.exists()}


def kept_bytes(folder: AppFolder) -> dict[str, int]:
    """Bytes on disk of what the app keeps: its private files, its shelf. -1 for what cannot be counted."""
    used = {"data": used_bytes(folder.data), "shelf": used_bytes(folder.shelf)}
    return {name: -1 if size == UNMEASURABLE else size for name, size in used.items()}


def witnesses(trusted: TrustedApp, channel: str = "") -> dict[str, Any] | None:
    """Who has to see releases, and who saw what is current in the channel; None where nobody has to."""
    if trusted.root.witnesses is None:
        return None
    return {
        "names": [each.name or each.keyid[:8] for each in trusted.root.witnesses.signers.values()],
        "threshold": trusted.root.witnesses.threshold,
        "seen_by": [each.name or each.keyid[:8] for each in trusted.witnessed_by_of(channel)],
    }


def _revoked(app: FollowedApp) -> dict[str, str] | None:
    """What the signers say of the installed release, if they took it back."""
    revocation = revocation_of(app, app.folder.installed)
    if revocation is None:
        return None
    return {"action": revocation.action.value, "reason": revocation.reason}


def metadata_files(metadata: MetadataSet) -> dict[str, str]:
    """The signed metadata by the file names of TUF."""
    blobs = {f"{version}.root.json": raw for version, raw in enumerate(metadata.roots, 1)}
    blobs |= {name + ".json": getattr(metadata, name) for name in ("timestamp", "snapshot", "targets")}
    blobs |= {f"{name}.json": raw for name, raw in metadata.delegated.items()}
    return {name: raw.decode() for name, raw in blobs.items()}

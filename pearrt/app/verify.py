"""Checking again, offline, that what lies here is what was signed.

    link -> roots -> signed statement -> index -> every file        (installed, or any folder)
    link -> roots -> signed statement -> index -> every block       (a .pear file)

Nothing that was verified before is taken for granted: the trusted state is read from disk and verified from
the app key on, the release is looked up in a statement that its signers signed (the current one, or one of
the log of releases), blocks and files are hashed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pearrt.app.followed import FollowedApp, held, installed_index
from pearrt.app.log import history
from pearrt.bundle.index import Index
from pearrt.bundle.pear_file import PearFile
from pearrt.bundle.verify import Difference, verify_tree
from pearrt.crypto.hashes import sha256
from pearrt.errors import DigestMismatch, NoSuchApp, NoSuchBlock, ProtocolViolation, TrustError, UserError
from pearrt.link import Link, encode_key
from pearrt.store.service import Store
from pearrt.trust.app import TrustedApp
from pearrt.trust.authority import Signer
from pearrt.trust.history import TARGETS
from pearrt.trust.metadata import Targets
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.release import Release


def verify_installed(app: FollowedApp, store: Store) -> dict[str, Any]:
    """Blocking. Raises NoSuchApp where nothing is installed, TrustError where no signed statement at hand
    names it, StoreError. Differences of files are in the result."""
    installed = app.folder.installed
    if installed is None:
        raise NoSuchApp(f"{encode_key(app.link.app_key)} is not installed.")
    named = _named(_restored(app), store, bytes.fromhex(installed.index_digest))
    index = installed_index(installed, store)
    differences = verify_tree(index, app.folder.tree(installed.index_digest))
    return _found(named, index, differences) | {"name": installed.name, "version": installed.version}


def verify_folder(app: FollowedApp, store: Store, folder: Path) -> dict[str, Any]:
    """Holds a folder against the releases of the app that are here; tells of the one that it is most like.

    Blocking. Raises NoSuchApp where none is here, StoreError where the folder can't be read.
    """
    trusted = _restored(app)
    indexes = [index for _, _, index in held(app, store)]
    if not indexes:
        raise NoSuchApp(
            f"No release of {encode_key(app.link.app_key)} is on this machine.", hint="`pearrt run` it first."
        )
    index, differences = min(
        ((index, verify_tree(index, folder)) for index in indexes), key=lambda pair: len(pair[1])
    )
    named = _named(trusted, store, sha256(index.encode()))
    release = named[1]
    return _found(named, index, differences) | {"name": release.name, "version": release.version}


def verify_file(path: Path, now: float) -> dict[str, Any]:
    """Everything in a `.pear` file, from its links on; needs no daemon and no state. Blocking.

    Raises TrustError, RemoteError or UserError for what does not hold. Expiry shows as freshness.
    """
    with PearFile(path) as file:
        apps = [_verify_app(file, Link.parse(text), now) for text in file.links]
        named = {bytes.fromhex(block) for app in apps for block in app.pop("block_ids")}
        return {"file": str(path), "apps": apps, "unused_blocks": len(set(file.block_ids()) - named)}


def _verify_app(file: PearFile, link: Link, now: float) -> dict[str, Any]:
    metadata = MetadataSet.decode(file.metadata(link.app_key))
    trusted = TrustedApp.first(link.app_key, metadata, now, allow_expired=True)
    here = set(file.block_ids())
    releases = _releases(trusted.targets, *trusted.channels.values())
    whole = [each for each in releases if set(each.index_blocks) <= here]
    if not whole:
        raise UserError(f"{file.path} holds no release of {link.key_text}.", hint="Export it again.")
    ids: set[bytes] = set()
    for release in whole:
        ids |= _verify_blocks(file, release)
    freshness = trusted.freshness(now)
    return {
        "link": str(link),
        "signed_by": [signer.name for signer in trusted.signed_by],
        "threshold": trusted.threshold,
        "sequence": trusted.targets.version,
        "freshness": freshness.state.value,
        "confirmed_at": int(freshness.confirmed_at),
        "releases": [
            {"path": each.path, "name": each.name, "version": each.version, "digest": each.index_digest.hex()}
            for each in whole
        ],
        "blocks": len(ids),
        "block_ids": [block.hex() for block in ids],
    }


def _verify_blocks(file: PearFile, release: Release) -> set[bytes]:
    """Ids of all blocks of a release, each of which was hashed. Raises DigestMismatch, ProtocolViolation."""
    data = b"".join(map(file.block, release.index_blocks))
    if sha256(data) != release.index_digest:
        raise DigestMismatch(f"The index in {file.path} is not the one that was signed.")
    index = Index.parse(data)
    for block in index.blocks:
        try:
            size = len(file.block(block.id))
        except NoSuchBlock as e:
            raise ProtocolViolation(
                f"{file.path} lacks blocks of {release.name} {release.version}.", hint="Export it again."
            ) from e
        if size != block.size:
            raise DigestMismatch(f"A block in {file.path} has another size than the signed index says.")
    return {*release.index_blocks, *(block.id for block in index.blocks)}


def _restored(app: FollowedApp) -> TrustedApp:
    """The trusted state as it lies on disk, verified anew. Raises Corrupt, NoSuchApp."""
    state = app.folder.trust
    if state is None:
        raise NoSuchApp(f"Nothing is known of {encode_key(app.link.app_key)} yet.")
    return TrustedApp.restore(app.link.app_key, state)


_Named = tuple[int, Release, tuple[Signer, ...], int]


def _named(trusted: TrustedApp, store: Store, digest: bytes) -> _Named:
    """The signed statement that names an index: its version, the release, who signed it, how many had to.

    The newest one. Raises TrustError where none is at hand.
    """
    for role in (TARGETS, *trusted.channels):
        for past in reversed(history(trusted, role, store)):
            for release in _releases(past.targets) if past.targets else ():
                if release.index_digest == digest:
                    return past.version, release, past.signed_by, past.threshold
    raise TrustError(
        "No signed statement that is at hand names this release.",
        hint="`pearrt log LINK` fetches the statements of the past from peers.",
    )


def _releases(*statements: Targets) -> Iterator[Release]:
    """All that they name, with what those replace step by step."""
    for statement in statements:
        for release in statement.releases:
            yield release
            if release.before is not None:
                yield release.before


def _found(named: _Named, index: Index, differences: list[Difference]) -> dict[str, Any]:
    sequence, release, signed_by, threshold = named
    return {
        "digest": release.index_digest.hex(),
        "sequence": sequence,
        "signed_by": [signer.name or signer.keyid[:8] for signer in signed_by],
        "threshold": threshold,
        "files": len(index.files),
        "differences": [f"{difference.path}: {difference.change}" for difference in differences],
    }

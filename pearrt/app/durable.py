"""Installing without waiting for the disk, and what a power cut then costs: a check at the next start.

A fresh release runs as soon as it is unpacked and verified; its tree and blocks are made durable in the
background. Until that is done its record says in which boot of the machine it was made. A kill loses nothing:
what was written is the kernel's. After a power cut the boot is another one. The tree is then compared with
the signed index before it is run again; where it is not whole, the release before it takes its place.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from pearrt.app.followed import installed_index
from pearrt.app.library import AppFolder
from pearrt.app.record import Installed
from pearrt.app.removal import remove_tree
from pearrt.bundle.unpack import make_durable as make_durable_tree
from pearrt.bundle.verify import verify_tree
from pearrt.errors import PearrtError, StoreError
from pearrt.store.service import Store

log = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """What tells this boot of the machine from others; empty where the system does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def make_durable(folder: AppFolder, store: Store, installed: Installed) -> Installed:
    """Waits until the release is on the disk and records that. Blocking. Raises StoreError where the disk
    refuses."""
    store.sync()
    try:
        make_durable_tree(folder.tree(installed.index_digest))
    except OSError as e:
        raise StoreError(f"Cannot make {folder.releases} durable: {e.strerror}.") from e
    done = replace(installed, boot="")
    if folder.installed == installed:  # else a newer one has taken over meanwhile
        folder.switch(done)
    return done


def recover(folder: AppFolder, store: Store) -> None:
    """At the daemon's start: checks a release that was not durable when the machine went down; drops
    leftovers."""
    installed = folder.installed
    if installed is not None and installed.boot not in ("", boot_id()):
        if _whole(folder, store, installed):
            make_durable(folder, store, installed)
        else:
            log.warning("%s %s was not whole after a power cut", installed.name, installed.version)
            folder.step_back()
            remove_tree(folder.tree(installed.index_digest))
    folder.prune({r.index_digest for r in (folder.installed, folder.previous) if r is not None})


def _whole(folder: AppFolder, store: Store, installed: Installed) -> bool:
    try:
        return not verify_tree(installed_index(installed, store), folder.tree(installed.index_digest))
    except (PearrtError, OSError):
        return False

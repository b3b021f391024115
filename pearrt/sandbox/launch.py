"""Launch: all that the sandbox needs to know to start one app, decided before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pearrt.bundle.manifest import Manifest
from pearrt.sandbox.policy import Permissions


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of one app.

    `folder` is the verified, unpacked release: readable, never writable inside. `data` is the app's private
    storage, created where it is absent. `argv` are the person's arguments, passed on byte for byte
    (`os.fsdecode`d). `env` may hold `PEARRT_APP_…` names only. `channel_fd` is a connected stream socket to
    the daemon, or None. `bytecode` is a folder for the release's compiled modules, one per release and never
    inside `folder`: `service.prepare` fills it, `run` uses what it finds there. `ui_fd` is the app's way
    to its own page: a socket to listen on where it serves the page itself, a connected one where it is the
    backend of a `web` app.
    """

    app_key: bytes
    manifest: Manifest
    folder: Path
    data: Path
    permissions: Permissions
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    channel_fd: int | None = None
    bytecode: Path | None = None
    ui_fd: int | None = None

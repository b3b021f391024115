"""A folder of the person's own, run as the app it will be: for who writes one, before it is released.

The folder is a project as `pearrt stage` takes it. It runs in the same sandbox with what its manifest asks
for, and with private storage that is its own as long as it stays where it is. Nobody signed it, so nothing
is verified; no daemon knows it, so it has no channel. Only its owner can run it, as it is their own code:
that is also why the sandbox may be left out here, and nowhere else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pearrt.errors import Denied
from pearrt.paths import Home
from pearrt.publish.stage import Prepared, from_project
from pearrt.sandbox import service
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.policy import Permissions
from pearrt.web.site import SignedFile

_TAG = b"pearrt-local-v1\0"


def run_folder(
    folder: Path, argv: Sequence[str], home: Home, *, show: Callable[[str], None], contained: bool = True
) -> int:
    """Runs the project in `folder`; gives its exit code. Raises Denied for a folder of somebody else's,
    UserError for one that is no project, and what the sandbox raises.
    """
    place = Path(os.path.realpath(folder))
    if os.stat(place).st_uid != os.geteuid():
        raise Denied(
            f"{place} belongs to another user.", hint="Copy it, or run the app by the link of its release."
        )
    with from_project(place) as prepared:
        launch = _launch(prepared, place, argv, home)
        if not contained:
            return service.run_own_code(launch)
        return _start(launch, show)


def _start(launch: Launch, show: Callable[[str], None]) -> int:
    if launch.manifest.kind == "web" or launch.permissions.ui:
        from pearrt.app import pages

        if pages.has_page(launch):
            return pages.start(launch, show, files=lambda: _files(launch.folder), channel=None)
    return service.run(launch)


def _launch(prepared: Prepared, place: Path, argv: Sequence[str], home: Home) -> Launch:
    key = hashlib.sha256(_TAG + os.fsencode(place)).digest()
    data = home.data / "local" / key.hex()[:32]
    data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    permissions = Permissions.parse(prepared.manifest.permissions)
    return Launch(key, prepared.manifest, prepared.folder, data, permissions, argv=tuple(argv))


def _files(folder: Path) -> Iterator[SignedFile]:
    """What the index would say of the files that are here now."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            yield SignedFile(path.relative_to(folder).as_posix(), len(data), hashlib.sha256(data).digest())

"""What the one-file program does when it starts: puts a real Python and pearrt on disk, once, and becomes
them.

Apps of kind python run under an interpreter inside a sandbox of their own; a frozen program is none. So the
program that PyInstaller makes is only the wrapping: it carries `payload.zip` with an interpreter, its
standard library and a runtime tree, and `payload.id`, a digest of it. The payload is unpacked beside other
versions and renamed into place whole; from then on a start only compares a name. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path

CARRIED = Path(getattr(sys, "_MEIPASS", Path(__file__).parent))
KEPT = 2  # folders of other versions: a daemon started by one may still run
OLD_S = 3600
_UNFINISHED = "new-"
# Set by the wrapping for itself: what is started must not inherit its libraries.
_RESTORED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def main() -> None:
    try:
        folder = unpacked(_home() / "onefile", (CARRIED / "payload.id").read_text("ascii").strip())
    except OSError as e:
        sys.exit(f"error: pearrt cannot unpack itself: {e}\n  try: set PEARRT_HOME to a folder with room")
    python = folder / "python" / "bin" / "python3"
    starter = folder / "tree" / "pearrt" / "runtime" / "start.py"
    cache = f"pycache_prefix={folder / 'bytecode'}"
    argv = [str(python), "-I", "-S", "-X", cache, str(starter), "pearrt", *sys.argv[1:]]
    os.execve(python, argv, _environ())  # noqa: S606 - this process becomes it


def _home() -> Path:
    """The folder that pearrt's own state is in too (`pearrt/paths.py`)."""
    if given := os.environ.get("PEARRT_HOME"):
        return Path(given).expanduser().absolute()
    share = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(share) / "pearrt"


def unpacked(place: Path, digest: str) -> Path:
    """The payload's folder, made now unless it is there. Several starts at once make one."""
    folder = place / digest[:32]
    if folder.is_dir():
        return folder
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear(place)
    temporary = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=place))
    try:
        with zipfile.ZipFile(CARRIED / "payload.zip") as archive:
            for member in archive.infolist():
                path = Path(archive.extract(member, temporary))
                path.chmod(member.external_attr >> 16 & 0o777)
        for made in temporary.rglob("*"):
            if made.is_dir():
                made.chmod(0o755)
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # not another start that was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _clear(place: Path) -> None:
    """Removes what other versions left, but the newest, and what starts that were killed left."""
    found = sorted(place.iterdir(), key=_changed_at)
    whole = [path for path in found if not path.name.startswith(_UNFINISHED)]
    killed = [
        path
        for path in found
        if path.name.startswith(_UNFINISHED) and _changed_at(path) < time.time() - OLD_S
    ]
    for path in (*killed, *whole[: max(0, len(whole) - KEPT)]):
        shutil.rmtree(path, ignore_errors=True)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # a start that was faster has just renamed it
        return time.time()


def _environ() -> dict[str, str]:
    """The person's own environment, as it was before the wrapping changed it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("_PYI_", "_MEI"))}
    for name in _RESTORED:
        environ.pop(name, None)
        if original := environ.pop(f"{name}_ORIG", ""):
            environ[name] = original
    return environ


if __name__ == "__main__":
    main()

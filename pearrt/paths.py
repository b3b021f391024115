"""Where pearrt keeps things. `PEARRT_HOME=DIR` puts all of it under one directory, so that several daemons
can live on one machine; otherwise the platform's own places are used, as platformdirs names them. The
bootstrapper has nothing but the standard library: it names the same places by itself, and a test holds the
two against each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pearrt.errors import UserError

# sun_path holds 108 bytes on Linux, 104 on macOS, with the closing NUL.
MAX_SOCKET_PATH_BYTES = 103


@dataclass(frozen=True, slots=True)
class Home:
    """The directories of one daemon. Creating them is `prepare`'s work; all are private (0700)."""

    data: Path
    config: Path
    runtime: Path

    @classmethod
    def from_environment(cls, environ: dict[str, str] | None = None) -> Home:
        """PEARRT_HOME if set, else the platform's user directories."""
        if given := (os.environ if environ is None else environ).get("PEARRT_HOME"):
            return cls.at(Path(given))
        data, config = _user_folders() if environ is None else _folders_by_rule(environ)
        # Not XDG_RUNTIME_DIR: cron, sudo and containers lack it, and one user's sessions must find one
        # daemon.
        return cls(data=data, config=config, runtime=data / "run")

    @classmethod
    def at(cls, folder: Path) -> Home:
        """Everything under one folder."""
        folder = folder.expanduser().absolute()
        return cls(data=folder, config=folder, runtime=folder / "run")

    def prepare(self) -> None:
        """Creates the directories, private to this user. Raises UserError where that fails or others may
        write."""
        for folder in (self.data, self.config, self.runtime):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                status = folder.stat()
            except OSError as e:
                raise UserError(
                    f"Cannot use {folder}: {e.strerror}.", hint="Set PEARRT_HOME to a folder of yours."
                ) from e
            if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
                raise UserError(
                    f"{folder} belongs to someone else or others may write to it.",
                    hint=f"Make it yours: chmod go-w {folder}, or set PEARRT_HOME to another folder.",
                )
        self.runtime.chmod(0o700)

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def socket(self) -> Path:
        """The daemon's local API. Raises UserError where the path is too long for a Unix socket."""
        path = self.runtime / "api.sock"
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            raise UserError(
                f"{path} is too long for a Unix socket.", hint="Set PEARRT_HOME to a shorter path."
            )
        return path

    @property
    def log(self) -> Path:
        return self.data / "daemon.log"

    @property
    def store(self) -> Path:
        return self.data / "store"

    @property
    def apps(self) -> Path:
        """One folder per app: trust state, grants, unpacked releases, private storage."""
        return self.data / "apps"

    @property
    def keys(self) -> Path:
        """Signing key files that `pearrt keys new` made."""
        return self.config / "keys"

    @property
    def publishing(self) -> Path:
        """One folder per app that is published from here: metadata and the heartbeat key."""
        return self.data / "publishing"

    @property
    def ceremonies(self) -> Path:
        """One folder per app: requests drafted and reviewed here, heartbeat keys that wait for a root."""
        return self.data / "ceremonies"

    @property
    def identity(self) -> Path:
        """This peer's Ed25519 seed and its remembered port."""
        return self.data / "identity.json"

    @property
    def dht_table(self) -> Path:
        return self.data / "dht-nodes.benc"


def _user_folders() -> tuple[Path, Path]:
    """This user's folders for data and for settings."""
    try:
        import platformdirs
    except ImportError:  # the bootstrapper
        return _folders_by_rule(os.environ)
    dirs = platformdirs.PlatformDirs("pearrt", appauthor=False)
    return Path(dirs.user_data_dir), Path(dirs.user_config_dir)


def _folders_by_rule(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """The same by the rules that platformdirs follows."""
    return (
        _user_folder(environ, "XDG_DATA_HOME", "~/.local/share"),
        _user_folder(environ, "XDG_CONFIG_HOME", "~/.config"),
    )


def _user_folder(environ: Mapping[str, str], variable: str, linux: str) -> Path:
    """One of the user's folders: the XDG Base Directory Specification's (a relative path in the variable is
    to be ignored), else the platform's."""
    if sys.platform == "win32":
        place = environ.get("LOCALAPPDATA") or "~/AppData/Local"
    else:
        place = environ.get(variable, "")
        if not os.path.isabs(place):
            place = "~/Library/Application Support" if sys.platform == "darwin" else linux
    return Path(place).expanduser() / "pearrt"

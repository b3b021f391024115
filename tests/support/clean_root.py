"""A clean Debian root: only the named packages and what they depend on, from those installed here, with
their entries in dpkg's database. Commands run in it without a network but loopback, and see no other
process. Needs root and bubblewrap; a test of a package installs it there with the system's own dpkg.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

_SKIPPED = (
    "/usr/share/doc/",
    "/usr/share/locale/",
    "/usr/share/man/",
    "/usr/share/info/",
    "/usr/share/lintian/",
)
_MERGED = ("bin", "lib", "lib64", "sbin")
_DATABASE = Path("/var/lib/dpkg")
# What a package may expect of any Debian (policy 3.8), as far as dpkg and maintainer scripts call it.
ESSENTIAL = ("coreutils", "dash", "diffutils", "dpkg", "findutils", "grep", "libc-bin", "sed")
ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}


class CleanRoot:
    """The root at `folder`; `packages` are the names asked for."""

    def __init__(self, folder: Path, *packages: str) -> None:
        self.folder = folder
        self.packages = closure(packages) if packages else []
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # for other users inside
        for name in ("dev", "etc", "proc", "root", "run", "tmp", "usr/bin", "var/lib/dpkg/info", "var/log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in _MERGED:
            (folder / "usr" / name).mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(f"usr/{name}")
        self._copy_packages()
        (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
        (folder / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")

    def run(
        self,
        *command: str,
        environ: Mapping[str, str] | None = None,
        shared: Iterable[Path] = (),
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command as root inside. `shared` are folders of this machine, writable, at the same path."""
        binds = [part for path in shared for part in ("--bind", str(path), str(path))]
        done = subprocess.run(
            [
                *("bwrap", "--die-with-parent", "--unshare-net", "--unshare-pid", "--unshare-ipc"),
                *("--cap-add", "ALL", "--clearenv", "--bind", str(self.folder), "/"),
                *(
                    "--dev",
                    "/dev",
                    "--proc",
                    "/proc",
                    "--perms",
                    "1777",
                    "--tmpfs",
                    "/tmp",
                    *binds,
                    "--chdir",
                    "/",
                ),
                *(part for pair in {**ENVIRON, **(environ or {})}.items() for part in ("--setenv", *pair)),
                *command,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def copy(self, folder: Path) -> CleanRoot:
        """Another root, as this one is now."""
        made = CleanRoot.__new__(CleanRoot)
        made.folder, made.packages = folder, self.packages
        shutil.copytree(self.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
        return made

    def _copy_packages(self) -> None:
        if not self.packages:
            return
        listed = subprocess.run(
            ["dpkg-query", "-L", *self.packages], capture_output=True, text=True, check=True
        ).stdout
        for line in listed.splitlines():
            if line.startswith("/") and not line.startswith(_SKIPPED):
                self._copy(Path(line))
        status = subprocess.run(["dpkg-query", "-s", *self.packages], capture_output=True, check=True).stdout
        (self.folder / "var/lib/dpkg/status").write_bytes(status.replace(b"\n---\n", b"\n\n"))
        for path in (_DATABASE / "info").iterdir():
            if path.name.partition(":")[0].rpartition(".")[0] in self.packages or (
                path.name.partition(":")[0] in self.packages
            ):
                shutil.copy(path, self.folder / "var/lib/dpkg/info")
        shutil.copy(_DATABASE / "info/format", self.folder / "var/lib/dpkg/info")
        for name in ("updates", "triggers", "parts"):
            (self.folder / "var/lib/dpkg" / name).mkdir(exist_ok=True)

    def _copy(self, path: Path) -> None:
        target = self.folder / path.relative_to("/")
        if os.path.lexists(target) or not os.path.lexists(path):
            return
        if path.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.readlink(path))
        elif path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def closure(packages: Iterable[str]) -> list[str]:
    """The packages and all that they depend on, as far as it is installed here."""
    form = "${Package}\t${db:Status-Status}\t${Pre-Depends}, ${Depends}\t${Provides}\n"
    lines = subprocess.run(
        ["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True
    ).stdout
    needs: dict[str, list[str]] = {}
    provided: dict[str, str] = {}
    for line in lines.splitlines():
        name, state, depends, provides = line.split("\t")
        if state == "installed":
            needs[name] = _names(depends)
            provided.update((virtual, name) for virtual in _names(provides))
    found: dict[str, None] = {}
    pending = list(packages)
    while pending:
        name = pending.pop()
        name = name if name in needs else provided.get(name, "")
        if name and name not in found:
            found[name] = None
            pending += needs[name]
    if missing := [name for name in packages if name not in found]:
        raise AssertionError(f"not installed here: {', '.join(missing)}")
    return sorted(found)


def _names(relations: str) -> list[str]:
    """Package names in a field of relations; of alternatives all."""
    parts = relations.replace("|", ",").split(",")
    return [part.split("(")[0].split(":")[0].strip() for part in parts if part.strip()]

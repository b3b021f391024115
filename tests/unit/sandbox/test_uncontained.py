"""The demo's last resort starts the app as the sandbox would; it contains nothing and says so elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.uncontained import run_in_the_open

SAY = "import os, sys; print(*sys.argv[1:], os.path.isdir(os.environ['PEARRT_DATA'])); sys.exit(3)"


@pytest.mark.parametrize("entry", ["main.py", "package.tool", "package", "package.start:Class.start"])
def test_every_kind_of_entry_starts(entry: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    package = tmp_path / "app" / "lib" / "package"
    package.mkdir(parents=True)
    for path in (tmp_path / "app" / "main.py", package / "tool.py", package / "__main__.py"):
        path.write_text(SAY)
    (package / "__init__.py").touch()
    (package / "start.py").write_text(f"class Class:\n    @staticmethod\n    def start():\n        {SAY}")
    manifest = Manifest(name="app", version="1", entry=Entry.parse(entry), path=(".", "lib"))
    launch = Launch(
        bytes(32), manifest, tmp_path / "app", tmp_path / "data", Permissions(), argv=("a b", "ü")
    )
    assert run_in_the_open(launch) == 3
    assert capfd.readouterr().out == "a b ü True\n"

"""The SDK is there inside the sandbox without being bundled, and nothing else of pearrt is."""

from __future__ import annotations

import errno
import json

import pytest

from tests.support.sandboxed import AppFolder, available_modes

pytestmark = pytest.mark.sandbox

LOOK = """
import json, os, sys
from pearrt import sdk
found = {"version": sdk.VERSION, "path": list(__import__("pearrt").__path__), "files": []}
for folder, _, names in os.walk("/sdk"):
    found["files"] += [os.path.join(folder, name) for name in names]
found["imports"] = {}
for name in ("pearrt.errors", "pearrt.link", "pearrt.daemon", "pearrt.sandbox.policy", "nacl"):
    try:
        __import__(name)
        found["imports"][name] = True
    except ImportError:
        found["imports"][name] = False
try:
    open("/sdk/pearrt/sdk/updates.py", "a")
except OSError as e:
    found["write"] = e.errno
try:
    sdk.app.info()
except sdk.NotConnected as e:
    found["offline"] = str(e)
import subprocess
found["child"] = subprocess.run(
    [sys.executable, "-c", "from pearrt import sdk; print(sdk.VERSION)"], capture_output=True, text=True
).stdout
print(json.dumps(found))
"""


@pytest.mark.parametrize("mode", available_modes())
def test_an_app_imports_the_sdk_without_bundling_it_and_nothing_else_of_pearrt(mode: str) -> None:
    with AppFolder({"main.py": LOOK}, mode) as app:
        done = app.run()
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
    assert found["path"] == ["/sdk/pearrt"]
    assert {name.rpartition("/")[0] for name in found["files"]} <= {
        "/sdk/pearrt/sdk",
        "/sdk/pearrt/sdk/__pycache__",
    }
    assert not any(found["imports"].values())
    assert found["write"] in (errno.EACCES, errno.EROFS)
    assert "no sandbox" in found["offline"]
    assert found["child"].strip() == found["version"]


def test_an_app_that_brings_its_own_pearrt_gets_its_own() -> None:
    files = {"main.py": "import pearrt; print(pearrt.MINE)", "pearrt/__init__.py": "MINE = 'mine'\n"}
    with AppFolder(files, available_modes()[0]) as app:
        assert app.run().stdout == b"mine\n"

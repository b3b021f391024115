"""Manifests and entries."""

from __future__ import annotations

import pytest

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import RemoteError, UserError

FULL = Manifest(
    name="Größe & co",
    version="1.0rc1+x",
    entry=Entry(module="a.b", function="C.main", arguments=("--flag", "ü")),
    kind="python",
    path=(".", "vendor", "src/lib"),
    requires_python=">=3.11,<4,!=3.12.*",
    platform="linux-x86_64",
    permissions={"network": True, "hosts": ["a", "b"], "limits": {"memory_mib": 64}},
)


def test_manifest_round_trips() -> None:
    assert Manifest.decode(FULL.encode()) == FULL
    plain = Manifest(name="x", version="1", entry=Entry(file="main.py"))
    assert Manifest.decode(plain.encode()) == plain


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("black:patched_main", Entry(module="black", function="patched_main")),
        ("a.b:C.d", Entry(module="a.b", function="C.d")),
        ("package.module", Entry(module="package.module")),
        ("main.py", Entry(file="main.py")),
        ("web/index.html", Entry(file="web/index.html")),
        ("bin/tool", Entry(file="bin/tool")),
        ("my-tool", Entry(file="my-tool")),
    ],
)
def test_entry_texts(text: str, entry: Entry) -> None:
    assert Entry.parse(text) == entry
    assert str(entry) == text


@pytest.mark.parametrize(
    "text", ["", "../x.py", "a:b c", ":main", "a:", "/bin/sh", "con.py", "a:b:c", "import:x"]
)
def test_bad_entry_is_said(text: str) -> None:
    with pytest.raises(UserError):
        Entry.parse(text)


def test_truncated_manifest_raises_only_remote_errors() -> None:
    data = FULL.encode()
    for length in range(len(data)):
        with pytest.raises(RemoteError):
            Manifest.decode(data[:length])
    with pytest.raises(RemoteError):
        Manifest.decode(bytes(100_000))

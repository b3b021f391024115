"""Which signed file answers which path, and that its bytes are the signed ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from pearrt.errors import Corrupt
from pearrt.web import content, policy
from pearrt.web.content import PIECE_BYTES, pieces
from pearrt.web.site import SignedFile, Site


def signed(path: str, data: bytes = b"") -> SignedFile:
    return SignedFile(path, len(data), hashlib.sha256(data).digest())


NAMES = ("secret.py", "web/index.html", "web/a b.css", "web/ü.js", "web/sub/index.html", "web2/x.html")
SITE = Site([signed(name) for name in NAMES], "web/index.html")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "web/index.html"),
        ("/index.html", "web/index.html"),
        ("/a%20b.css", "web/a b.css"),
        ("/%C3%BC.js", "web/ü.js"),
        ("/sub/", "web/sub/index.html"),
        ("/s%75b/index.html", "web/sub/index.html"),
    ],
)
def test_a_path_is_the_file_of_that_name(path: str, name: str) -> None:
    found = SITE.find(path)
    assert found is not None
    assert found.path == name


@pytest.mark.parametrize(
    "path",
    [
        "",
        "index.html",
        "//",
        "/sub",
        "/sub//",
        "/../secret.py",
        "/..%2fsecret.py",
        "/%2e%2e/secret.py",
        "/sub/../index.html",
        "/./index.html",
        "/web/index.html",
        "/secret.py",
        "/web2/x.html",
        "/../web2/x.html",
        "/INDEX.HTML",
        "/index.html/",
        "/index.html%00",
        "/%ff",
        "/\\..\\secret.py",
        "/" + "a" * 5000,
        "/%252e%252e/secret.py",
        "/etc/passwd",
        "//etc/passwd",
        "/.pearrt/bridge.js",
    ],
)
def test_everything_else_is_not_there(path: str) -> None:
    assert SITE.find(path) is None


def test_an_entry_at_the_root_serves_the_whole_bundle_and_nothing_is_listed() -> None:
    site = Site([signed("page.html"), signed("a/b.txt")], "page.html")
    assert site.find("/") == site.find("/page.html") == signed("page.html")
    assert site.find("/a/") is None
    assert site.find("/a/b.txt") == signed("a/b.txt")


def test_the_type_is_the_names_never_the_contents() -> None:
    assert signed("a.HTML", b"GIF89a").content_type.startswith("text/html")
    assert signed("a.exe", b"<html>").content_type == "application/octet-stream"


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_signed_bytes_come_whole(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    assert b"".join(pieces(tmp_path, signed("f", data))) == data


@pytest.mark.parametrize("size", [1, 2 * PIECE_BYTES])
def test_a_changed_byte_anywhere_keeps_the_last_piece_back(tmp_path: Path, size: int) -> None:
    data = bytes(size)
    for at in (0, size - 1):
        (tmp_path / "f").write_bytes(data[:at] + b"!" + data[at + 1 :])
        came = bytearray()
        with pytest.raises(Corrupt):
            came.extend(byte for piece in pieces(tmp_path, signed("f", data)) for byte in piece)
        assert len(came) < size


def test_a_file_of_another_size_a_link_a_pipe_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    data = b"content"
    (tmp_path / "good").write_bytes(data)
    (tmp_path / "long").write_bytes(data + b"!")
    (tmp_path / "link").symlink_to(tmp_path / "good")
    os.mkfifo(tmp_path / "pipe")
    for name in ("long", "link", "pipe", "gone"):
        with pytest.raises(Corrupt):
            list(pieces(tmp_path, signed(name, data)))


def test_a_strict_page_loads_nothing_from_elsewhere_and_runs_no_script_in_its_markup() -> None:
    csp = policy.headers()["Content-Security-Policy"]
    assert csp.startswith("default-src 'none'")
    assert "unsafe-inline" not in csp
    assert "'unsafe-eval'" not in csp
    for text in (policy.STRICT, policy.SERVED):
        assert "http:" not in text
        assert "*" not in text
        for directive in ("connect-src 'self'", "base-uri 'none'", "object-src 'none'", "form-action 'self'"):
            assert directive in text


def test_pieces_are_small() -> None:
    assert content.PIECE_BYTES <= 1 << 20

"""Inputs to begin with: `python -m tests.fuzz.seeds` writes one valid input or two per target."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pearrt.bundle.index import BlockRef, File, Frame, Index
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.codec import bencode, canonical
from pearrt.crypto.hashes import sha256
from pearrt.peer import messages
from pearrt.sdk import frames
from tests.fuzz.targets import CORPUS_HOST


def seeds() -> dict[str, list[bytes]]:
    permissions = {"storage": "5 MiB", "net": {"hosts": ["api.example.com:443"]}, "ui": True, "cpu": 2}
    plain = Manifest("app", "1.0", Entry(module="a.b", function="main"), permissions=permissions)
    web = Manifest(
        "web", "2", Entry(file="w/index.html"), kind="web", path=("lib",), backend=Entry(file="b.py")
    )
    content = b"print('hello')\n"
    frame = Frame(len(content), len(content), (BlockRef(sha256(content), len(content)),))
    index = Index(plain, (File("a/b.py", len(content), False, sha256(content)),), "raw", (frame,))
    some = [
        messages.Ping(bytes(8)),
        messages.HaveAll(1, bytes(32)),
        messages.Leave(1),
        messages.Have(1, 0, (1, 2)),
    ]
    request = f"GET\n/a\nHost:{CORPUS_HOST}\nCookie:pearrt=x\nSec-Fetch-Site:none"
    return {
        "bencode": [bencode.encode({"a": [1, -2, b"x"], "b": {}}), b"li0ee"],
        "canonical": [canonical.encode({"a": [1, "ü", None, True]})],
        "manifest": [plain.encode(), web.encode()],
        "index": [index.encode()],
        "policy": [json.dumps(permissions).encode(), b'{"run.native": true, "memory": 67108864}'],
        "peer_frames": [b"".join(messages.encode(message) for message in some)],
        "app_frames": [frames.encode({"id": 1, "method": "app.info"}) * 2],
        "page_request": [request.encode()],
    }


def main() -> None:
    for name, inputs in seeds().items():
        folder = Path(__file__).parent / "corpus" / name
        folder.mkdir(parents=True, exist_ok=True)
        for data in inputs:
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


if __name__ == "__main__":
    main()

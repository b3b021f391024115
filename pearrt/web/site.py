"""Which file of the signed index answers which path. Pure.

A site is the folder of the entry's file: nothing above it is served, nothing is listed, and a path is looked
up among the signed files, never on a disk, so there is nothing to climb out of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

MAX_PATH_CHARACTERS = 4096
_TYPES = {
    "avif": "image/avif", "css": "text/css; charset=utf-8", "csv": "text/csv; charset=utf-8",
    "gif": "image/gif", "html": "text/html; charset=utf-8", "ico": "image/x-icon", "jpeg": "image/jpeg",
    "jpg": "image/jpeg", "js": "text/javascript; charset=utf-8", "json": "application/json",
    "map": "application/json", "md": "text/plain; charset=utf-8", "mjs": "text/javascript; charset=utf-8",
    "mp3": "audio/mpeg", "mp4": "video/mp4", "ogg": "audio/ogg", "otf": "font/otf", "pdf": "application/pdf",
    "png": "image/png", "svg": "image/svg+xml", "ttf": "font/ttf", "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm", "wav": "audio/wav", "webm": "video/webm",
    "webmanifest": "application/manifest+json", "webp": "image/webp", "woff": "font/woff",
    "woff2": "font/woff2", "xml": "application/xml",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file of the index: path in the bundle, size in bytes, SHA-256."""

    path: str
    size: int
    sha256: bytes

    @property
    def tag(self) -> str:
        """The ETag: what the content is."""
        return f'"{self.sha256.hex()}"'

    @property
    def content_type(self) -> str:
        """By the name's ending; never guessed from the content."""
        return _TYPES.get(self.path.rpartition(".")[2].lower(), "application/octet-stream")


class Site:
    """The files of an app's index that its page may ask for."""

    def __init__(self, files: Iterable[SignedFile], entry: str) -> None:
        folder = entry.rpartition("/")[0]
        prefix = f"{folder}/" if folder else ""
        self._files = {file.path[len(prefix) :]: file for file in files if file.path.startswith(prefix)}
        self._entry = entry[len(prefix) :]

    def find(self, path: str) -> SignedFile | None:
        """The file for a request's raw path, its query removed; None where there is none."""
        if len(path) > MAX_PATH_CHARACTERS or not path.startswith("/"):
            return None
        try:
            name = unquote_to_bytes(path[1:]).decode()
        except UnicodeDecodeError:
            return None
        if not name:
            name = self._entry
        return self._files.get(f"{name}index.html" if name.endswith("/") else name)

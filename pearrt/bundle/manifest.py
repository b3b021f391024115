"""The manifest: what an app is called, how it starts and what it asks for. Part of the signed index.

Every text comes from a publisher and is shown to people: lengths are bounded and no control or
direction-changing character passes. Permissions are kept as the publisher wrote them; their meaning is the
sandbox's to judge.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pearrt.bundle.path_rules import character_fault, check_path
from pearrt.codec import bencode, canonical
from pearrt.errors import LimitExceeded, ProtocolViolation, UserError

KINDS = ("python", "web", "wasi", "exec")
_ENDINGS = {"web": ".html", "wasi": ".wasm"}  # what the entry's file is called
MAX_NAME_CHARACTERS = 100
MAX_VERSION_CHARACTERS = 64
MAX_TEXT_CHARACTERS = 256
MAX_PATH_ENTRIES = 16
MAX_ARGUMENTS = 32
MAX_PERMISSIONS_BYTES = 8192
MAX_MANIFEST_BYTES = 65_536

_PLATFORM = re.compile(r"any|[a-z0-9]+(?:-[a-z0-9_.]+){1,3}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """How the app starts. Exactly one of `module` and `file` is set.

    `module` alone runs as `python -m` would; with `function` that attribute (dots allowed) is called without
    arguments and its result is the exit code; `file` is a path inside the bundle: a script, a page, a
    program. `arguments` come before the person's own.
    """

    module: str = ""
    function: str = ""
    file: str = ""
    arguments: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, kind: str = "python") -> Entry:
        """`package.module`, `package.module:function` or a file such as `main.py`, `web/index.html`. Only
        apps of kind `python` have modules.

        Raises UserError for anything else.
        """
        module, colon, function = text.strip().partition(":")
        try:
            if (
                kind == "python"
                and _is_dotted(module)
                and (not colon or _is_dotted(function))
                and not _is_file_name(module)
            ):
                return cls(module=module, function=function)
            check_path(text)
        except (ProtocolViolation, LimitExceeded) as e:
            raise UserError(
                f"Entry {text!r} is neither a module nor a file of the app.",
                hint="Write it as package.module:function, package.module or path/to/main.py.",
            ) from e
        return cls(file=text)

    def __str__(self) -> str:
        if self.file:
            return self.file
        return f"{self.module}:{self.function}" if self.function else self.module


@dataclass(frozen=True, slots=True)
class Manifest:
    """An app's own description. `path`: folders of the bundle that go on `sys.path` (`.` is its root).
    `backend`: the Python part of a `web` app, where it has one.
    """

    name: str
    version: str
    entry: Entry
    kind: str = "python"
    path: tuple[str, ...] = (".",)
    requires_python: str = ""
    platform: str = "any"
    permissions: Mapping[str, Any] = field(default_factory=dict)
    backend: Entry | None = None

    def __post_init__(self) -> None:
        _check_text("name", self.name, MAX_NAME_CHARACTERS)
        _check_text("version", self.version, MAX_VERSION_CHARACTERS)
        _check_text("requires_python", self.requires_python, MAX_TEXT_CHARACTERS, empty=True)
        if not _VERSION.fullmatch(self.version):
            raise ProtocolViolation(f"manifest: {self.version!a} is not a version")
        if self.kind not in KINDS:
            raise ProtocolViolation(f"manifest: unknown kind {ascii(self.kind)[:40]}")
        if len(self.platform) > MAX_VERSION_CHARACTERS or not _PLATFORM.fullmatch(self.platform):
            raise ProtocolViolation(f"manifest: {ascii(self.platform)[:80]} is not a platform")
        if len(self.path) > MAX_PATH_ENTRIES:
            raise LimitExceeded("manifest: too many path entries")
        if len(set(self.path)) != len(self.path):
            raise ProtocolViolation("manifest: a path entry is there twice")
        for folder in self.path:
            if folder != ".":
                check_path(folder)
        _check_entry(self.entry)
        self._check_kind()
        if len(canonical.encode(self.permissions)) > MAX_PERMISSIONS_BYTES:
            raise LimitExceeded(f"manifest: permissions of more than {MAX_PERMISSIONS_BYTES} bytes")

    def _check_kind(self) -> None:
        """Each kind starts something else: Python starts modules and files, the others one file."""
        if self.kind != "python" and not self.entry.file:
            raise ProtocolViolation(f"manifest: an app of kind {self.kind} starts a file, not a module")
        if not self.entry.file.endswith(_ENDINGS.get(self.kind, "")):
            raise ProtocolViolation(
                f"manifest: the entry of kind {self.kind} is no {_ENDINGS[self.kind]} file"
            )
        if self.backend is not None:
            if self.kind != "web":
                raise ProtocolViolation("manifest: only an app of kind web has a backend")
            _check_entry(self.backend)

    def to_value(self) -> dict[str, Any]:
        """The bencode value of the index's `manifest` key; empty fields are left out."""
        value: dict[str, Any] = {
            "entry": _entry_value(self.entry),
            "kind": self.kind,
            "name": self.name,
            "path": list(self.path),
            "platform": self.platform,
            "version": self.version,
        }
        if self.requires_python:
            value["requires_python"] = self.requires_python
        if self.permissions:
            value["permissions"] = canonical.encode(self.permissions)
        if self.backend is not None:
            value["backend"] = _entry_value(self.backend)
        return value

    def encode(self) -> bytes:
        """The manifest alone, as it travels between staging and the daemon."""
        return bencode.encode(self.to_value())

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """The inverse of `encode`. Raises ProtocolViolation or LimitExceeded."""
        if len(data) > MAX_MANIFEST_BYTES:
            raise LimitExceeded(f"manifest of {len(data)} bytes; at most {MAX_MANIFEST_BYTES} are allowed")
        return cls.from_value(bencode.decode(data, max_depth=4, max_items=256))

    @classmethod
    def from_value(cls, value: Any) -> Manifest:
        """The manifest that `to_value` gave. Raises ProtocolViolation or LimitExceeded for anything else."""
        fields = _Fields(value, "manifest")
        backend = fields.take("backend", dict, {})
        permissions = fields.take("permissions", bytes, b"")
        manifest = cls(
            name=fields.text("name"),
            version=fields.text("version"),
            kind=fields.text("kind"),
            path=fields.texts("path", MAX_PATH_ENTRIES),
            platform=fields.text("platform"),
            requires_python=fields.text("requires_python", ""),
            permissions=_parse_permissions(permissions) if permissions else {},
            entry=_parse_entry(fields.take("entry", dict), "manifest entry"),
            backend=_parse_entry(backend, "manifest backend") if backend else None,
        )
        fields.end()
        if bencode.encode(manifest.to_value()) != bencode.encode(value):
            raise ProtocolViolation("manifest: not written in its one canonical form")
        return manifest


def _entry_value(entry: Entry) -> dict[str, Any]:
    value: dict[str, Any] = {"arguments": list(entry.arguments)} if entry.arguments else {}
    for key in ("module", "function", "file"):
        if text := getattr(entry, key):
            value[key] = text
    return value


def _parse_entry(value: Any, what: str) -> Entry:
    fields = _Fields(value, what)
    entry = Entry(
        module=fields.text("module", ""),
        function=fields.text("function", ""),
        file=fields.text("file", ""),
        arguments=fields.texts("arguments", MAX_ARGUMENTS, ()),
    )
    fields.end()
    return entry


def _parse_permissions(data: bytes) -> Mapping[str, Any]:
    value = canonical.parse(data, max_bytes=MAX_PERMISSIONS_BYTES)
    if not isinstance(value, dict):
        raise ProtocolViolation("manifest: permissions are no table")
    return value


def _check_entry(entry: Entry) -> None:
    if bool(entry.module) == bool(entry.file) or (entry.function and not entry.module):
        raise ProtocolViolation("manifest: the entry names neither or both of module and file")
    for dotted in (entry.module, entry.function):
        if dotted and (len(dotted) > MAX_TEXT_CHARACTERS or not _is_dotted(dotted)):
            raise ProtocolViolation(f"manifest: {ascii(dotted)[:80]} is no dotted Python name")
    if entry.file:
        check_path(entry.file)
    if len(entry.arguments) > MAX_ARGUMENTS:
        raise LimitExceeded("manifest: too many entry arguments")
    for argument in entry.arguments:
        if len(argument) > MAX_TEXT_CHARACTERS or "\0" in argument:
            raise ProtocolViolation("manifest: an entry argument is too long or holds NUL")


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in text.split("."))


def _is_file_name(text: str) -> bool:
    """`main.py` is a dotted name too, but nobody means the module `py` of the package `main`."""
    return text.endswith((".py", ".pyz", ".html", ".wasm"))


def _check_text(what: str, text: str, limit: int, *, empty: bool = False) -> None:
    if len(text) > limit:
        raise LimitExceeded(f"manifest: {what} is longer than {limit} characters")
    if not text.strip() and not empty:
        raise ProtocolViolation(f"manifest: {what} is empty")
    allowed = text if what == "name" else text.replace("<", "").replace(">", "").replace("*", "")
    if text != text.strip() or (fault := character_fault(allowed)):
        raise ProtocolViolation(f"manifest: {what}: {fault if text == text.strip() else 'spaces around it'}")


class _Fields:
    """A bencode dictionary read key by key; what is left over at the end is an error."""

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise ProtocolViolation(f"{what}: not a dictionary")
        self.left = dict(value)
        self.what = what

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        value = self.left.pop(key.encode(), default)
        if not isinstance(value, kind):
            raise ProtocolViolation(f"{self.what}: {key} is missing or of another type")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        data = self.take(key, bytes, None if default is None else default.encode())
        return _decode(data, f"{self.what}: {key}")

    def texts(self, key: str, limit: int, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        items = self.take(key, list, None if default is None else list(default))
        if len(items) > limit or not all(isinstance(item, bytes) for item in items):
            raise ProtocolViolation(f"{self.what}: {key} is too long or no list of texts")
        return tuple(_decode(item, f"{self.what}: {key}") for item in items)

    def end(self) -> None:
        if self.left:
            names = ", ".join(ascii(key)[1:] for key in sorted(self.left)[:3])
            raise ProtocolViolation(f"{self.what}: unknown keys {names}")


def _decode(data: bytes, what: str) -> str:
    if len(data) > MAX_TEXT_CHARACTERS * 4:
        raise LimitExceeded(f"{what} is too long")
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise ProtocolViolation(f"{what} is not UTF-8") from e

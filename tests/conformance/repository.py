"""A TUF repository in memory, made with python-tuf and served over loopback HTTP, and a client beside it.

Its metadata is python-tuf's own, so what the client is shown was written by somebody else's code. Roles are
changed in place and published; every published version stays, as a repository with consistent snapshots keeps
it. Requests are written down.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from tests.conformance import tuf_client

TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")
ALL = ("root", "targets", "snapshot", "timestamp")  # in the order in which they name each other
BELOW_ROOT = ALL[1:]


@cache
def signer(number: int) -> CryptoSigner:
    """Always the same Ed25519 key for a number."""
    return CryptoSigner.generate_ed25519()


class PlainRepository:
    """`signers` are those who do sign a role, whatever the metadata says of who may."""

    def __init__(self, *, consistent: bool = True) -> None:
        self.expiry = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        self.published: dict[str, list[bytes]] = {}
        self.signers: dict[str, list[CryptoSigner]] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.hashed = False  # whether snapshot and timestamp say length and hash, too
        self.used = 0
        kinds: dict[str, Any] = {
            "root": Root,
            "targets": Targets,
            "snapshot": Snapshot,
            "timestamp": Timestamp,
        }
        self.roles: dict[str, Any] = {name: kind(expires=self.expiry) for name, kind in kinds.items()}
        self.roles["root"].consistent_snapshot = consistent
        for role in TOP_LEVEL:
            self.add_key(role)
        self.publish(*ALL)

    def __getitem__(self, role: str) -> Any:
        return self.roles[role]

    def new_signer(self) -> CryptoSigner:
        self.used += 1
        shared = signer(self.used)
        return CryptoSigner(shared._private_key, copy.deepcopy(shared.public_key))

    def add_key(self, role: str, delegator: str = "root", by: CryptoSigner | None = None) -> CryptoSigner:
        """One more key that may sign `role`, and does."""
        by = by or self.new_signer()
        self[delegator].add_key(by.public_key, role)
        self.signers.setdefault(role, []).append(by)
        return by

    def rotate(self, role: str) -> None:
        self["root"].roles[role].keyids.clear()
        self.signers[role].clear()
        self.add_key(role)

    def publish(self, *roles: str, bump: bool = True) -> None:
        """Signs new versions of these roles, each then named by the one above it."""
        for role in roles:
            document = self[role]
            if bump and role in self.published:
                document.version += 1
            metadata: Metadata[Any] = Metadata(document, {})
            for by in self.signers[role]:
                metadata.sign(by, append=True)
            raw = metadata.to_bytes(JSONSerializer())
            self.published.setdefault(role, []).append(raw)
            meta = MetaFile(document.version)
            if self.hashed:
                meta = MetaFile(document.version, len(raw), {"sha256": hashlib.sha256(raw).hexdigest()})
            if role == "snapshot":
                self["timestamp"].snapshot_meta = meta
            elif role not in ("root", "timestamp"):
                self["snapshot"].meta[f"{role}.json"] = meta

    def delegate(self, delegator: str, name: str, *, paths: list[str] | None = None, **fields: Any) -> None:
        """A delegated role with one key, last in order; its own metadata is empty unless it is there."""
        if self[delegator].delegations is None:
            self[delegator].delegations = Delegations({}, {})
        if paths is None and "path_hash_prefixes" not in fields:
            paths = ["*"]
        terminating = fields.pop("terminating", False)
        role = DelegatedRole(name, [], 1, terminating, paths, **fields)
        self[delegator].delegations.roles[name] = role
        self.add_key(name, delegator, self.signers[name][0] if name in self.signers else None)
        self.signers[name] = self.signers[name][:1]
        self.roles.setdefault(name, Targets(expires=self.expiry))

    def add_file(self, role: str, data: bytes, path: str) -> None:
        self[role].targets[path] = TargetFile.from_data(path, data, ["sha256"])
        self.files[path] = data

    def answer(self, path: str) -> bytes | None:
        """What is served under a path; None for 404."""
        kind, _, name = path.lstrip("/").partition("/")
        self.requests.append(name)
        if kind == "targets":
            folder, slash, file = unquote(name).rpartition("/")
            if self["root"].consistent_snapshot:
                digest, _, file = file.partition(".")
                data = self.files.get(f"{folder}{slash}{file}")
                named = [
                    t.targets[f"{folder}{slash}{file}"] for t in self._targets_with(f"{folder}{slash}{file}")
                ]
                return data if any(digest == each.hashes["sha256"] for each in named) else None
            return self.files.get(unquote(name))
        stem = name.removesuffix(".json")
        version, _, role = stem.partition(".")
        if stem != "timestamp" and (role == "root" or self["root"].consistent_snapshot):
            number = int(version)
            versions = self.published.get(unquote(role), [])
            return versions[number - 1] if 0 < number <= len(versions) else None
        return (self.published.get(unquote(stem)) or [None])[-1]

    def _targets_with(self, path: str) -> list[Any]:
        return [role for role in self.roles.values() if isinstance(role, Targets) and path in role.targets]


class Client:
    """The client under test, run as the suite runs it, in this process."""

    def __init__(self, repository: PlainRepository, url: str, folder: Path) -> None:
        self.repository, self.url = repository, url
        self.metadata, self.targets = folder / "metadata", folder / "targets"
        for each in (self.metadata, self.targets):
            each.mkdir(parents=True)

    def run(self, *words: str) -> int:
        """Exit code. `self.repository.requests` then holds what it asked for."""
        self.repository.requests.clear()
        options = ["--metadata-url", f"{self.url}/metadata/", "--metadata-dir", str(self.metadata)]
        return tuf_client.main([*options, *words])

    def init(self, root: bytes | None = None) -> int:
        path = self.metadata.parent / "initial_root.json"
        path.write_bytes(root or self.repository.published["root"][0])
        return tuf_client.main(["--metadata-dir", str(self.metadata), "init", str(path)])

    def refresh(self) -> int:
        return self.run("refresh")

    def download(self, name: str) -> int:
        where = ["--target-dir", str(self.targets), "--target-base-url", f"{self.url}/targets/"]
        return self.run("--target-name", name, *where, "download")

    @property
    def trusted(self) -> dict[str, int]:
        """Version of every role that is kept, by role."""
        found = {}
        for path in self.metadata.glob("*.json"):
            found[unquote(path.stem)] = Metadata.from_file(str(path)).signed.version
        return found

    @property
    def downloaded(self) -> list[bytes]:
        files = [path for path in self.targets.rglob("*") if path.is_file()]
        return [path.read_bytes() for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]


@contextmanager
def serving(repository: PlainRepository) -> Iterator[str]:
    """The repository behind HTTP on the loopback; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = repository.answer(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # a client may hang up on what is too long
                self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()

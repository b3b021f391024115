"""A publisher in memory, written without pearrt's own publishing code: verifier and writer share no bug.

Its plain dicts may be bent in three places: `documents` before signing, `blob_edits` after signing with all
that hashes them adjusted, and the returned MetadataSet, whose hashes then no longer fit.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from nacl.signing import SigningKey

from pearrt.trust.metadata_set import MetadataSet

NOW = 1_900_000_000.0  # 2030-03-17
DAY = 86400.0
APP_ID = "0123456789abcdef" * 2
ROLES = ("root", "timestamp", "snapshot", "targets")

Document = dict[str, Any]
Edit = Callable[[Document], None]
BlobEdit = Callable[[bytes], bytes]


def canonical(value: Any) -> bytes:
    """OLPC canonical JSON: what is signed. Raw control characters make it no JSON."""
    if isinstance(value, dict):
        return b"{" + b",".join(canonical(key) + b":" + canonical(value[key]) for key in sorted(value)) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    if isinstance(value, str):
        return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    return json.dumps(value).encode()


def plain(value: Any) -> bytes:
    """JSON with sorted keys: what travels."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def text_of(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def signing_key(name: str) -> SigningKey:
    """Always the same key for a name."""
    return SigningKey(hashlib.sha256(name.encode()).digest())


def public_hex(name: str) -> str:
    return bytes(signing_key(name).verify_key).hex()


def key_object(public: str) -> Document:
    return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}


def key_id(public: str) -> str:
    return hashlib.sha256(canonical(key_object(public))).hexdigest()


def app_key_of(root: bytes) -> bytes:
    return hashlib.sha256(b"pearrt-app-v1\0" + canonical(json.loads(root)["signed"])).digest()


def signature(name: str, signed: Document) -> Document:
    return {
        "keyid": key_id(public_hex(name)),
        "sig": signing_key(name).sign(canonical(signed)).signature.hex(),
    }


def blob_of(signed: Document, names: list[str]) -> bytes:
    return plain({"signatures": [signature(name, signed) for name in names], "signed": signed})


def meta_of(version: int, raw: bytes) -> Document:
    return {"version": version, "length": len(raw), "hashes": {"sha256": hashlib.sha256(raw).hexdigest()}}


def index_target(version: str) -> Document:
    digest = hashlib.sha256(version.encode()).hexdigest()
    custom = {"name": "Ledger", "version": version, "blocks": [digest], "notes": "", "released": text_of(NOW)}
    return {"length": 1000, "hashes": {"sha256": digest}, "custom": custom}


class Repository:
    """2 of 3 signers (ada, bob, cyd) and a heartbeat (hb), unless told otherwise."""

    def __init__(
        self,
        signers: tuple[str, ...] = ("ada", "bob", "cyd"),
        threshold: int = 2,
        heartbeat: str = "hb",
        *,
        app_id: str = APP_ID,
    ) -> None:
        self.app_id = app_id
        self.documents: dict[str, Document] = {
            "targets": self._common("targets", 1, NOW + 900 * DAY) | {"targets": {}},
            "snapshot": self._common("snapshot", 1, NOW + 900 * DAY) | {"meta": {}},
            "timestamp": self._common("timestamp", 1, NOW + 7 * DAY)
            | {"meta": {}, "x-pearrt-signed": text_of(NOW), "x-pearrt-period": int(DAY), "x-pearrt-root": 1},
        }
        self.documents["root"] = self._common("root", 1, NOW + 900 * DAY) | {"consistent_snapshot": False}
        self.names: dict[str, list[str]] = {}
        self.set_keys(signers, threshold, heartbeat)
        self.roots: list[bytes] = []
        self.blob_edits: dict[str, BlobEdit] = {}
        self.link_edits: dict[str, Edit] = {}  # bend the entry that names snapshot or targets
        self.signed_edits: dict[str, Edit] = {}  # bend what is signed, at the last moment
        self.commit_root()

    def _common(self, role: str, version: int, expires: float) -> Document:
        return {
            "_type": role,
            "spec_version": "1.0.34",
            "version": version,
            "expires": text_of(expires),
            "x-pearrt-app": self.app_id,
        }

    def __getitem__(self, role: str) -> Document:
        return self.documents[role]

    @property
    def app_key(self) -> bytes:
        return app_key_of(self.roots[0])

    def set_keys(self, signers: tuple[str, ...], threshold: int, heartbeat: str) -> None:
        """Names who may sign from the next root on; a threshold of them does sign."""
        self.team, self.threshold = signers, threshold
        team = {"keyids": sorted(key_id(public_hex(name)) for name in signers), "threshold": threshold}
        online = {"keyids": [key_id(public_hex(heartbeat))], "threshold": 1}
        publics = [public_hex(name) for name in (*signers, heartbeat)]
        self["root"]["keys"] = {key_id(public): key_object(public) for public in publics}
        self["root"]["roles"] = {
            "root": copy.deepcopy(team),
            "targets": copy.deepcopy(team),
            "snapshot": copy.deepcopy(online),
            "timestamp": copy.deepcopy(online),
        }
        quorum = list(signers[:threshold])
        self.names |= {
            "root": quorum,
            "targets": list(quorum),
            "snapshot": [heartbeat],
            "timestamp": [heartbeat],
        }

    def rotate(
        self, signers: tuple[str, ...], threshold: int, heartbeat: str = "hb", times: int = 1
    ) -> Repository:
        """New roots, signed by the quorum so far and by the new one."""
        for _ in range(times):
            before = self.names["root"]
            self["root"]["version"] += 1
            self.set_keys(signers, threshold, heartbeat)
            self.names["root"] = list(dict.fromkeys([*before, *self.names["root"]]))
            self.commit_root()
            self.names["root"] = list(signers[:threshold])
        self["timestamp"]["x-pearrt-root"] = self["root"]["version"]
        return self

    def commit_root(self, *names: str) -> None:
        """Appends the root document as it is now, signed by `names` or by its own quorum."""
        self.roots.append(blob_of(self["root"], list(names) or self.names["root"]))

    def recommit_root(self, *names: str) -> None:
        self.roots.pop()
        self.commit_root(*names)

    def release(self, version: str, path: str = "stable/any") -> Repository:
        """A new release: the targets, or the channel it is in, snapshot and timestamp go one version up."""
        channel, _, _ = path.partition("/")
        speaker = channel if channel in self.channels else "targets"
        self[speaker]["targets"][path] = index_target(version)
        return self.bump(speaker)

    def bump(self, *roles: str) -> Repository:
        """These roles, snapshot and timestamp go one version up."""
        for role in (*roles, "snapshot", "timestamp"):
            self[role]["version"] += 1
        return self

    @property
    def channels(self) -> list[str]:
        """Those with signers of their own."""
        return [role["name"] for role in self["targets"].get("delegations", {}).get("roles", [])]

    def delegate(
        self, channel: str, signers: tuple[str, ...] = ("dan", "eve"), threshold: int = 1, *, since: int = 1
    ) -> Repository:
        """Gives a channel to signers of its own, or hands it over: targets go one version up."""
        delegations = self["targets"].setdefault("delegations", {"keys": {}, "roles": []})
        publics = [public_hex(name) for name in signers]
        delegations["keys"] |= {key_id(public): key_object(public) for public in publics}
        role = {
            "name": channel,
            "keyids": [key_id(public) for public in publics],
            "threshold": threshold,
            "terminating": True,
            "paths": [f"{channel}/*"],
            "x-pearrt-since": since,
        }
        delegations["roles"] = [each for each in delegations["roles"] if each["name"] != channel] + [role]
        if channel not in self.documents:
            self[channel] = self._common("targets", 1, NOW + 900 * DAY) | {"targets": {}}
        self.names[channel] = list(signers[:threshold])
        return self.bump("targets")

    def take_back(self, channel: str) -> Repository:
        """The channel has no signers of its own any more; the snapshot remembers its version."""
        roles = self["targets"]["delegations"]["roles"]
        self["targets"]["delegations"]["roles"] = [each for each in roles if each["name"] != channel]
        if not self.channels:
            del self["targets"]["delegations"]
        self["snapshot"]["meta"][f"{channel}.json"] = meta_of(self[channel]["version"], b"")
        return self.bump("targets")

    def beat(self, now: float = NOW) -> Repository:
        """A new timestamp, nothing else."""
        self["timestamp"]["version"] += 1
        self["timestamp"] |= {"x-pearrt-signed": text_of(now), "expires": text_of(now + 7 * DAY)}
        return self

    def __setitem__(self, role: str, document: Document) -> None:
        self.documents[role] = document

    def metadata(self) -> MetadataSet:
        """The signed set, every hash fitting the blob that it names."""
        blobs: dict[str, bytes] = {}
        versions: dict[str, Any] = {}
        channels = self.channels
        named = {"snapshot": ["targets", *channels], "timestamp": ["snapshot"]}
        for role in ("targets", *channels, "snapshot", "timestamp"):
            document = copy.deepcopy(self[role])
            for below in named.get(role, ()):
                entry = meta_of(versions[below], blobs[below])
                if edit := self.link_edits.get(below):
                    edit(entry)
                document["meta"][f"{below}.json"] = entry
            if edit := self.signed_edits.get(role):
                edit(document)
            raw = blob_of(document, self.names[role])
            blobs[role], versions[role] = self.blob_edits.get(role, bytes)(raw), document.get("version")
        roots = (*self.roots[:-1], self.blob_edits.get("root", bytes)(self.roots[-1]))
        top = (blobs[role] for role in ("timestamp", "snapshot", "targets"))
        return MetadataSet(roots, *top, {channel: blobs[channel] for channel in channels})

    def copy(self) -> Repository:
        return copy.deepcopy(self)


def flip(raw: bytes, at: int) -> bytes:
    """One bit of one byte is another."""
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def with_blob(metadata: MetadataSet, role: str, raw: bytes) -> MetadataSet:
    """The set with one blob replaced and no hash adjusted; `root` stands for the last one."""
    if role == "root":
        return replace(metadata, roots=(*metadata.roots[:-1], raw))
    if role in metadata.delegated:
        return replace(metadata, delegated={**metadata.delegated, role: raw})
    return replace(metadata, **{role: raw})

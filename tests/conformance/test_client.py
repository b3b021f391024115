"""The conformance client against repositories that python-tuf made: what The Update Framework's own suite
demands, scenario by scenario, named as there."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import Metadata, MetaFile

from tests.conformance import tuf_client
from tests.conformance.conftest import Setup
from tests.conformance.repository import ALL, BELOW_ROOT, Client, PlainRepository

DAY = 86400.0
TOP = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]


def at(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    now = datetime.now(UTC).timestamp() + days * DAY
    monkeypatch.setattr(tuf_client.time, "time", lambda: now)


# Basic.


def test_basic_refresh(client: Client, repo: PlainRepository) -> None:
    assert client.refresh() == 0
    assert repo.requests == TOP
    for role in ALL:
        assert (client.metadata / f"{role}.json").read_bytes() == repo.published[role][-1]
    assert client.refresh() == 0
    assert repo.requests == TOP[:2]


def test_as_a_command_in_a_process_of_its_own(client: Client) -> None:
    command = [sys.executable, "-I", "-S", tuf_client.__file__, "--metadata-dir", str(client.metadata)]
    refresh = [*command, "--metadata-url", f"{client.url}/metadata/", "refresh"]
    assert subprocess.run(refresh, check=False).returncode == 0
    assert client.trusted == dict.fromkeys(ALL, 1)
    client.repository.published["timestamp"].clear()
    assert subprocess.run(refresh, check=False, stderr=subprocess.DEVNULL).returncode == 1


def test_implicit_refresh(client: Client, repo: PlainRepository) -> None:
    assert client.download("nonexistent artifact") == 1
    assert repo.requests == TOP
    assert client.trusted == dict.fromkeys(ALL, 1)


@pytest.mark.parametrize("spoil", ["version", "signature"])
def test_invalid_or_unsigned_initial_root(make: Setup, spoil: str) -> None:
    repo = PlainRepository()
    root = json.loads(repo.published["root"][0])
    if spoil == "version":
        del root["signed"]["version"]
    else:
        root["signatures"][0]["sig"] = "3045022100ee448afe2d25dd1f05af"
    client = make(repo, root=json.dumps(root).encode())
    assert client.refresh() == 1
    assert repo.requests == []


@pytest.mark.parametrize(
    ("role", "left"),
    [
        ("root", {"root": 1}),
        ("timestamp", {"root": 2}),
        ("snapshot", {"root": 2, "timestamp": 2}),
        ("targets", {"root": 2, "timestamp": 2, "snapshot": 2}),
    ],
)
def test_unsigned_metadata(client: Client, repo: PlainRepository, role: str, left: dict[str, int]) -> None:
    repo.signers[role].clear()
    repo.publish(*ALL)
    assert client.refresh() == 1
    assert client.trusted == left


@pytest.mark.parametrize(
    ("role", "left"),
    [
        ("root", {"root": 1}),
        ("snapshot", {"root": 2, "timestamp": 2}),
        ("targets", {"root": 2, "timestamp": 2, "snapshot": 2}),
    ],
)
def test_url_and_metadata_version_mismatch(
    client: Client, repo: PlainRepository, role: str, left: dict[str, int]
) -> None:
    repo.publish(*ALL)
    repo[role].version += 1
    wrong: Metadata[object] = Metadata(repo[role], {})
    for by in repo.signers[role]:
        wrong.sign(by, append=True)
    repo.published[role][-1] = wrong.to_bytes()
    assert client.refresh() == 1
    assert client.trusted == left


def test_timestamp_content_changes(client: Client, repo: PlainRepository) -> None:
    assert client.refresh() == 0
    repo["timestamp"].snapshot_meta.version = 100
    repo.publish("timestamp", bump=False)
    assert client.refresh() == 0
    assert repo.requests[-1] == "timestamp.json"
    assert json.loads((client.metadata / "timestamp.json").read_bytes())["signed"]["meta"] == {
        "snapshot.json": {"version": 1}
    }


def test_basic_metadata_hash_support(client: Client, repo: PlainRepository) -> None:
    repo.hashed = True
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh() == 0
    repo.publish("targets")
    repo["snapshot"].meta["targets.json"].hashes["sha256"] = "46" * 32
    repo.publish("snapshot", "timestamp")
    assert client.refresh() == 1
    assert client.trusted == {"root": 1, "timestamp": 3, "snapshot": 3, "targets": 2}


def test_metadata_bytes_match(client: Client, repo: PlainRepository) -> None:
    repo.published["timestamp"][-1] += b" "
    assert client.refresh() == 0
    assert (client.metadata / "timestamp.json").read_bytes() == repo.published["timestamp"][-1]


@pytest.mark.parametrize("fields", [{"extra-field": {"a": 1, "b": 2}}, {"keyid_hash_algorithms": ["md5"]}])
def test_custom_fields_and_deprecated_keyid_hash_algorithms(
    client: Client, repo: PlainRepository, fields: dict[str, object]
) -> None:
    assert client.refresh() == 0
    by = repo.new_signer()
    by.public_key.unrecognized_fields = fields
    text = encode_canonical(by.public_key.to_dict()).encode()
    by.public_key.keyid = hashlib.sha256(text).hexdigest()
    repo["root"].unrecognized_fields["custom-field"] = "value"
    repo["root"].roles["snapshot"].unrecognized_fields["another-field"] = "value"
    repo["root"].roles["snapshot"].keyids.clear()
    repo.signers["snapshot"].clear()
    repo.add_key("snapshot", by=by)
    repo.publish("root", "snapshot", "timestamp")
    assert client.refresh() == 0
    assert (client.trusted["root"], client.trusted["snapshot"]) == (2, 2)


@pytest.mark.parametrize("role", ["snapshot", "targets", "timestamp"])
def test_snapshot_targets_timestamp_404(client: Client, repo: PlainRepository, role: str) -> None:
    assert client.refresh() == 0
    repo.publish("targets", "snapshot", "timestamp")
    repo.published[role].clear()
    assert client.refresh() == 1
    assert repo.requests[-1].endswith(f"{role}.json")
    assert client.trusted[role] == 1


def test_incorrect_metadata_type(client: Client, repo: PlainRepository) -> None:
    repo.add_key("snapshot", by=repo.signers["timestamp"][0])
    repo["snapshot"].meta = {"snapshot.json": MetaFile(1)}
    repo.publish("root", "snapshot")
    repo.published["timestamp"].append(repo.published["snapshot"].pop())
    assert client.refresh() == 1
    assert client.trusted == {"root": 2}


def test_a_repository_without_consistent_snapshots(make: Setup) -> None:
    repo = PlainRepository(consistent=False)
    repo.add_file("targets", b"hello", "a/file.txt")
    repo.publish("targets", "snapshot", "timestamp")
    client = make(repo)
    assert client.download("a/file.txt") == 0
    assert repo.requests == ["2.root.json", "timestamp.json", "snapshot.json", "targets.json", "a/file.txt"]
    assert client.downloaded == [b"hello"]


# Rollback and recovery.


def test_simple_snapshot_rollback(client: Client, repo: PlainRepository) -> None:
    repo.publish("snapshot", "timestamp")
    assert client.refresh() == 0
    repo["snapshot"].version = 1
    repo.publish("snapshot", bump=False)
    assert client.refresh() == 0
    assert client.trusted["snapshot"] == 2
    assert repo.requests[-1] == "timestamp.json"


def test_new_timestamp_version_rollback(client: Client, repo: PlainRepository) -> None:
    repo.publish("timestamp")
    assert client.refresh() == 0
    repo["timestamp"].version = 1
    repo.publish("timestamp", bump=False)
    assert client.refresh() == 1
    assert client.trusted["timestamp"] == 2


@pytest.mark.parametrize("hashed", [False, True], ids=["basic", "with hashes"])
def test_snapshot_rollback(client: Client, repo: PlainRepository, *, hashed: bool) -> None:
    repo.hashed = hashed
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh() == 0
    repo["snapshot"].version = 1
    repo.publish("snapshot", bump=False)
    repo.publish("timestamp")
    assert client.refresh() == 1
    assert client.trusted == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}
    assert repo.requests[-1] == "timestamp.json"


@pytest.mark.parametrize("hashed", [False, True], ids=["basic", "with hashes"])
def test_targets_rollback(client: Client, repo: PlainRepository, *, hashed: bool) -> None:
    repo.hashed = hashed
    repo.publish("targets")
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh() == 0
    repo["targets"].version = 1
    repo.publish("targets", bump=False)
    repo.publish("snapshot", "timestamp")
    assert client.refresh() == 1
    assert client.trusted == {"root": 1, "timestamp": 3, "snapshot": 2, "targets": 3}


def test_new_targets_fast_forward_recovery(client: Client, repo: PlainRepository) -> None:
    for _ in range(99):
        repo.publish("targets")
    repo.publish("snapshot", "timestamp")
    assert client.refresh() == 0
    assert client.trusted["targets"] == 100
    repo.rotate("snapshot")
    repo["targets"].version = 1
    repo.published["targets"] = repo.published["targets"][:1]
    repo.publish("root", "targets", "snapshot", "timestamp")
    assert client.refresh() == 0
    assert client.trusted["targets"] == 2


def test_new_snapshot_fast_forward_recovery(client: Client, repo: PlainRepository) -> None:
    for _ in range(30):
        repo.publish("snapshot")
    repo.publish("timestamp")
    assert client.refresh() == 0
    repo.rotate("snapshot")
    repo.rotate("timestamp")
    repo.published["snapshot"].clear()
    repo["snapshot"].version = 0
    repo.publish("snapshot", "timestamp", "root")
    assert client.refresh() == 0
    assert client.trusted["snapshot"] == 1


def test_new_timestamp_fast_forward_recovery(client: Client, repo: PlainRepository) -> None:
    for _ in range(99):
        repo.publish("timestamp")
    assert client.refresh() == 0
    repo.rotate("timestamp")
    repo["timestamp"].version = 0
    repo.publish("timestamp", "root")
    assert client.refresh() == 0
    assert client.trusted["timestamp"] == 1


def test_snapshot_that_drops_a_role(client: Client, repo: PlainRepository) -> None:
    repo.delegate("targets", "role")
    repo.publish("role", "targets", "snapshot", "timestamp")
    assert client.refresh() == 0
    del repo["snapshot"].meta["role.json"]
    repo.publish("snapshot", "timestamp")
    assert client.refresh() == 1
    assert client.trusted["snapshot"] == 2


# Time.


def test_root_expired(client: Client, repo: PlainRepository) -> None:
    assert client.refresh() == 0
    repo.publish("root")
    repo["root"].expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    repo.publish("root", "targets", "snapshot", "timestamp")
    assert client.refresh() == 1
    assert client.trusted == {"root": 3, "timestamp": 1, "snapshot": 1, "targets": 1}


def test_an_expired_root_in_the_middle_of_the_chain(client: Client, repo: PlainRepository) -> None:
    repo["root"].expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    repo.publish("root")
    repo["root"].expires = repo.expiry
    repo.publish("root")
    assert client.refresh() == 0


@pytest.mark.parametrize("role", BELOW_ROOT)
def test_timestamp_snapshot_targets_expired(client: Client, repo: PlainRepository, role: str) -> None:
    assert client.refresh() == 0
    repo[role].expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=5)
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh() == 1
    assert client.trusted[role] == 1
    assert client.trusted["timestamp"] == (1 if role == "timestamp" else 2)


def test_expired_metadata_and_faketime(
    client: Client, repo: PlainRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expired local timestamp and snapshot still hold rollback off, and can be updated from."""
    now = datetime.now(UTC).replace(microsecond=0)
    repo["timestamp"].expires = now + timedelta(days=7)
    repo.publish("timestamp")
    assert client.refresh() == 0
    at(monkeypatch, 18)
    assert client.refresh() == 1
    repo["timestamp"].expires = now + timedelta(days=21)
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh() == 0
    assert client.trusted == {"root": 1, "timestamp": 3, "snapshot": 2, "targets": 2}


def test_expired_local_timestamp_still_holds_rollback_off(
    client: Client, repo: PlainRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo["timestamp"].expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=7)
    repo.publish("timestamp")
    assert client.refresh() == 0
    at(monkeypatch, 18)
    repo["timestamp"].version, repo["timestamp"].expires = 1, repo.expiry
    repo.publish("timestamp", bump=False)
    assert client.refresh() == 1
    assert client.trusted["timestamp"] == 2


def test_delegated_targets_expired_and_updates(
    client: Client, repo: PlainRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    repo.delegate("targets", "delegated", paths=["delegatedpath/*"])
    repo["delegated"].expires = now - timedelta(days=1)
    for name in ("first", "second"):
        repo.add_file("delegated", name.encode(), f"delegatedpath/{name}")
    repo.publish("delegated", "targets", "snapshot", "timestamp")
    assert client.refresh() == 0
    assert client.download("delegatedpath/first") == 1
    assert "delegated" not in client.trusted
    repo["delegated"].expires = now + timedelta(days=7)
    repo.publish("delegated", "snapshot", "timestamp")
    assert client.download("delegatedpath/first") == 0
    at(monkeypatch, 18)
    assert client.download("delegatedpath/second") == 1
    repo["delegated"].expires = now + timedelta(days=21)
    repo.publish("delegated", "snapshot", "timestamp")
    assert client.download("delegatedpath/second") == 0
    assert client.downloaded == [b"first", b"second"]


# Files.


def test_client_downloads_expected_file(client: Client, repo: PlainRepository) -> None:
    for path in ("target_file.txt", "path/to/a/target_file.txt", "with space/ä#?.txt"):
        repo.add_file("targets", path.encode(), path)
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh() == 0
    assert client.downloaded == []
    for count, path in enumerate(("target_file.txt", "path/to/a/target_file.txt", "with space/ä#?.txt"), 1):
        assert client.download(path) == 0
        assert client.downloaded[-1] == path.encode()
        assert len(client.downloaded) == count


def test_artifact_cache(client: Client, repo: PlainRepository) -> None:
    repo.add_file("targets", b"content", "file")
    repo.publish("targets", "snapshot", "timestamp")
    assert client.download("file") == 0
    assert repo.requests[-1].endswith(".file")
    assert client.download("file") == 0
    assert repo.requests[-1] == "timestamp.json"


def test_repository_substitutes_target_file(client: Client, repo: PlainRepository) -> None:
    for name in ("one", "two"):
        repo.add_file("targets", name.encode(), name)
    repo.publish("targets", "snapshot", "timestamp")
    assert client.download("one") == 0
    for bad in (b"malicious data - should not download", b"xxx", b""):
        repo.files |= {"one": bad, "two": bad}
        client.download("one")
        assert client.download("two") == 1
        assert client.downloaded == [b"one"]


def test_multiple_changes_to_target(client: Client, repo: PlainRepository) -> None:
    for number in range(4):
        repo.add_file("targets", f"contents {number}".encode(), "file")
        repo.publish("targets", "snapshot", "timestamp")
        assert client.download("file") == 0
        assert client.downloaded == [f"contents {number}".encode()]
        repo.files["file"] = b"malicious"
        repo.publish("targets", "snapshot", "timestamp")
        client.download("file")
        assert client.downloaded == [f"contents {number}".encode()]

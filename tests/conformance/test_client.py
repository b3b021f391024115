"""The conformance client against repositories that python-tuf made: what The Update Framework's own suite
demands, scenario by scenario, named as there."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import Delegations, Metadata, MetaFile, SuccinctRoles, Targets

from tests.conformance import tuf_client
from tests.conformance.repository import ALL, BELOW_ROOT, Client, PlainRepository, serving

DAY = 86400.0
Setup = Callable[..., Client]
TOP = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Setup]:
    """A client whose repository is served; the client knows its first root."""
    opened = []

    def start(repository: PlainRepository | None = None, *, root: bytes | None = None) -> Client:
        repository = repository or PlainRepository()
        context = serving(repository)
        client = Client(repository, context.__enter__(), tmp_path / f"client{len(opened)}")
        opened.append(context)
        client.init(root)
        return client

    yield start
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def client(make: Setup) -> Client:
    return make()


@pytest.fixture
def repo(client: Client) -> PlainRepository:
    return client.repository


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


# Keys.


def test_root_meets_threshold_but_snapshot_does_not(client: Client, repo: PlainRepository) -> None:
    repo["root"].roles["snapshot"].threshold = 4
    for _ in range(3):
        repo.add_key("snapshot")
    repo.publish("root", "snapshot", "timestamp")
    assert client.refresh() == 0
    repo.signers["snapshot"].pop()
    repo.publish("root", "snapshot", "timestamp")
    assert client.refresh() == 1
    assert client.trusted == {"root": 3, "timestamp": 3, "snapshot": 2, "targets": 1}


def test_snapshot_threshold(client: Client, repo: PlainRepository) -> None:
    assert client.refresh() == 0
    for _ in range(4):
        repo.add_key("snapshot")
    repo["root"].roles["snapshot"].threshold = 6
    repo.publish("root", "snapshot", "timestamp")
    assert client.refresh() == 1
    assert client.trusted["snapshot"] == 1


@pytest.mark.parametrize("ids", ["same", "different"])
def test_duplicate_keys_root(client: Client, repo: PlainRepository, ids: str) -> None:
    root, by = repo["root"], repo.add_key("snapshot")
    for number in range(8):
        again = copy.deepcopy(by.public_key)
        if ids == "different":
            again.keyid = f"{number:064x}"
            repo.signers["snapshot"].append(type(by)(by._private_key, again))
        root.keys[again.keyid] = again
        root.roles["snapshot"].keyids.append(again.keyid)
    root.roles["snapshot"].threshold = 6
    repo.publish("root", "snapshot", "timestamp")
    assert client.refresh() == 1
    assert "snapshot" not in client.trusted


def test_keytype_and_scheme(client: Client, repo: PlainRepository) -> None:
    repo.add_key("root")
    repo["root"].roles["root"].threshold = 2
    repo.publish("root")
    assert client.refresh() == 0
    assert client.trusted["root"] == 2
    repo.publish("root")
    bad = json.loads(repo.published["root"][-1])
    bad["signatures"][1]["sig"] = "b6" * 64
    repo.published["root"][-1] = json.dumps(bad).encode()
    assert client.refresh() == 1
    assert client.trusted["root"] == 2


ROOT_ROTATIONS = {
    "1-of-1-key-rotation": [([1], 1, [1]), ([2], 1, [2, 1]), ([2], 1, [2])],
    "unused-signatures": [([1], 1, [3, 1, 4]), ([2], 1, [3, 2, 1, 4]), ([2], 1, [3, 2, 4])],
    "3-of-5-different-keycombos": [
        ([0, 1, 2, 3, 4], 3, [0, 2, 4]),
        ([0, 1, 2, 3, 4], 3, [0, 4, 1]),
        ([0, 1, 2, 3, 4], 3, [0, 1, 3]),
    ],
    "3-of-5-one-key-rotated": [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 4, 1])],
    "3-of-5-intermediate-step": [
        ([0, 1, 2, 3, 4], 3, [0, 2, 4]),
        ([0, 1, 3, 4, 5], 3, [0, 2, 4, 5]),
        ([0, 1, 3, 4, 5], 3, [0, 4, 5]),
    ],
    "3-of-5-all-keys-rotated": [
        ([0, 1, 2, 3, 4], 3, [0, 2, 4]),
        ([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7]),
        ([5, 6, 7, 8, 9], 3, [5, 6, 7]),
    ],
    "threshold-increase": [([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [1, 2])],
    "threshold-decrease": [([1, 2, 3], 2, [1, 2]), ([1, 2, 3], 1, [1, 2]), ([1, 2, 3], 1, [1])],
    "fail-not-signed-with-old-key": [([1], 1, [1]), ([2], 1, [2, 3, 4])],
    "fail-not-signed-with-new-key": [([1], 1, [1]), ([2], 1, [1, 3, 4])],
    "fail-not-signed-with-3-new-keys": [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 2, 4])],
    "fail-not-signed-with-3-old-keys": [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 4, 5])],
    "fail-new-threshold-not-reached": [([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [2])],
    "fail-old-threshold-not-reached": [([1, 2, 3], 2, [1, 2]), ([1, 2, 3], 1, [1])],
}


@pytest.mark.parametrize("name", ROOT_ROTATIONS)
def test_root_rotation(make: Setup, name: str) -> None:
    repo = PlainRepository()
    keys = [repo.new_signer() for _ in range(10)]
    repo.published["root"].clear()
    repo["root"].version = 0
    for numbers, threshold, signing in ROOT_ROTATIONS[name]:
        role = repo["root"].roles["root"]
        role.keyids.clear()
        role.threshold = threshold
        for number in numbers:
            repo["root"].add_key(keys[number].public_key, "root")
        repo.signers["root"] = [keys[number] for number in signing]
        repo.publish("root")
    client = make(repo)
    fails = name.startswith("fail")
    assert client.refresh() == int(fails)
    assert (client.metadata / "root.json").read_bytes() == repo.published["root"][-2 if fails else -1]


OTHER_ROTATIONS = {
    "1-of-1-key-rotation": ([2], 1, [2], 0),
    "unused-signatures": ([1], 1, [3, 1, 4], 0),
    "fail-not-signed-with-new-key": ([2], 1, [1, 3, 4], 1),
    "3-of-5-wrong-signature": ([0, 1, 3, 4, 5], 3, [0, 2, 4], 1),
    "2-of-5-threshold-not-reached": ([0, 1, 3, 4, 5], 3, [0, 4], 1),
    "3-of-5-first-combo": ([0, 1, 2, 3, 4], 3, [0, 2, 4], 0),
    "3-of-5-second-combo": ([0, 1, 2, 3, 4], 3, [0, 4, 1], 0),
}


@pytest.mark.parametrize("name", OTHER_ROTATIONS)
@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_non_root_rotations(client: Client, repo: PlainRepository, role: str, name: str) -> None:
    numbers, threshold, signing, code = OTHER_ROTATIONS[name]
    keys = [repo.new_signer() for _ in range(6)]
    repo["root"].roles[role].keyids.clear()
    repo["root"].roles[role].threshold = threshold
    for number in numbers:
        repo["root"].add_key(keys[number].public_key, role)
    repo.signers[role] = [keys[number] for number in signing]
    repo.publish("root", "targets", "snapshot", "timestamp")
    assert client.refresh() == code
    if code == 0:
        assert (client.metadata / f"{role}.json").read_bytes() == repo.published[role][-1]


# Delegations. Each entry delegates from the first to the second role.

GRAPHS = {
    "basic": (["targets A"], "A"),
    "single-level": (["targets A", "targets B"], "AB"),
    "two-level": (["targets A", "targets B", "B C"], "ABC"),
    "two-level-depth-first": (["targets A", "targets B", "A C", "A D"], "ACDB"),
    "three-level-depth-first": (["targets A", "targets B", "A C", "C D"], "ACDB"),
    "two-level-terminating": (["targets A", "targets B", "A C !", "A D"], "AC"),
    "three-level-terminating": (["targets A", "targets B", "A C !", "C D"], "ACD"),
    "two-level-other-paths": (["targets A *.py", "targets B", "A C"], "B"),
    "three-level-other-paths": (["targets A", "targets B", "A C *.py", "C D"], "AB"),
    "cyclic": (["targets A", "targets B", "B C", "C D", "D B"], "ABCD"),
    "two-to-a-third": (["targets A", "targets B", "B C", "A C"], "ACB"),
    "two-to-a-third-other-paths": (["targets A", "targets B", "B C", "A C *.py"], "ABC"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_traversal(client: Client, repo: PlainRepository, name: str) -> None:
    edges, visited = GRAPHS[name]
    for edge in edges:
        delegator, role, *rest = edge.split()
        paths = [each for each in rest if each != "!"] or ["*"]
        repo.delegate(delegator, role, paths=paths, terminating="!" in rest)
    repo.publish(*[role for role in repo.roles if len(role) == 1], "targets", "snapshot", "timestamp")
    assert client.download("missingpath") == 1
    assert repo.requests[4:] == [f"1.{role}.json" for role in visited]


@pytest.mark.parametrize(
    ("path", "found", "visited"),
    [
        ("targetfile", True, ""),
        ("README.md", True, "A"),
        ("releases/x/x_v1", True, "BC"),
        ("releases/y/y_v1.zip", True, "BD"),
        ("releases/z/z_v1.zip", False, "B"),
    ],
)
def test_targetfile_search(
    client: Client, repo: PlainRepository, path: str, *, found: bool, visited: str
) -> None:
    repo.delegate("targets", "A", paths=["*.doc", "*.md"])
    repo.delegate("targets", "B", paths=["releases/*/*"])
    repo.delegate("B", "C", paths=["releases/x/*"])
    repo.delegate("B", "D", paths=["releases/y/*.zip"])
    files = {"targets": "targetfile", "A": "README.md", "C": "releases/x/x_v1", "D": "releases/y/y_v1.zip"}
    for role, file in files.items():
        repo.add_file(role, file.encode(), file)
    repo.add_file("D", b"z", "releases/z/z_v1.zip")
    repo.publish("A", "B", "C", "D", "targets", "snapshot", "timestamp")
    assert client.download(path) == int(not found)
    assert client.downloaded == ([path.encode()] if found else [])
    asked = [each for each in repo.requests[4:] if each.endswith(".json")]
    assert asked == [f"1.{role}.json" for role in visited]


def test_hash_prefix_delegation(client: Client, repo: PlainRepository) -> None:
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("one", "two")}
    for name, digest in digests.items():
        repo.delegate("targets", f"bin-{name}", path_hash_prefixes=[digest[:4], "zz"[:0] + digest[:8]])
        repo.add_file(f"bin-{name}", name.encode(), name)
    repo.publish("bin-one", "bin-two", "targets", "snapshot", "timestamp")
    assert client.download("two") == 0
    assert repo.requests[4] == "1.bin-two.json"
    assert client.downloaded == [b"two"]


@pytest.mark.parametrize("bits", [1, 4, 10])
def test_succinct_hash_bins(client: Client, repo: PlainRepository, bits: int) -> None:
    roles = SuccinctRoles([], 1, bits, "bin")
    repo["targets"].delegations = Delegations({}, None, roles)
    by = repo.new_signer()
    repo["targets"].add_key(by.public_key)
    name = roles.get_role_for_target("a/file")
    repo.roles[name] = Targets(expires=repo.expiry)
    repo.signers[name] = [by]
    repo.add_file(name, b"content", "a/file")
    repo.publish(name, "targets", "snapshot", "timestamp")
    assert client.download("a/file") == 0
    assert repo.requests[4] == f"1.{name}.json"
    assert client.download("elsewhere") == 1


@pytest.mark.parametrize("role", ["?", "#", "/delegatedrole", "../delegatedrole"])
def test_unusual_role_name(client: Client, repo: PlainRepository, role: str) -> None:
    repo.delegate("targets", role)
    repo.publish(role, "targets", "snapshot", "timestamp")
    assert client.download("nonexistent target") == 1
    assert client.trusted == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2, role: 1}
    assert not (client.metadata.parent / "delegatedrole.json").exists()


def test_a_delegated_role_by_the_wrong_key(client: Client, repo: PlainRepository) -> None:
    repo.delegate("targets", "A")
    repo.add_file("A", b"x", "file")
    repo.signers["A"] = [repo.new_signer()]
    repo.publish("A", "targets", "snapshot", "timestamp")
    assert client.download("file") == 1
    assert "A" not in client.trusted


def test_no_more_than_32_delegations_and_256_roots_are_followed(make: Setup) -> None:
    repo = PlainRepository()
    names = [f"role{number}" for number in range(40)]
    for delegator, name in zip(["targets", *names], names, strict=False):
        repo.delegate(delegator, name)
    repo.publish(*names, "targets", "snapshot", "timestamp")
    client = make(repo)
    assert client.download("missing") == 1
    assert len(repo.requests[4:]) == 32
    for _ in range(300):
        repo.publish("root")
    client.refresh()
    assert client.trusted["root"] == 257


@pytest.mark.parametrize("role", ALL)
def test_endless_data(client: Client, repo: PlainRepository, role: str) -> None:
    repo.publish("root", "targets", "snapshot", "timestamp")
    repo.published[role][-1] += b" " * 6_000_000
    assert client.refresh() == 1
    assert role not in client.trusted or client.trusted[role] == 1

"""The conformance client: keys, rotations and delegations, named as in the framework's own suite."""

from __future__ import annotations

import copy
import hashlib
import json

import pytest
from tuf.api.metadata import Delegations, SuccinctRoles, Targets

from tests.conformance.conftest import Setup
from tests.conformance.repository import ALL, Client, PlainRepository

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

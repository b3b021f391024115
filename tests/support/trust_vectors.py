"""The trust vectors in `tests/vectors/trust/`; `python -m tests.support.trust_vectors` writes them.

Each file but one is a story: an app key, its link, and steps that a verifier takes in order. A step is a
metadata set, the time, and what must come of it: the `release` version and freshness, or the code of the
error. Later stories expect more of a step: the version current in other `channels`, which machines take which
release (`takes`), what is `revoked`, the `proof` of a fork. `bad.json` holds one set for each thing that is
wrong, with what was trusted before, if anything, and the code of our error.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from pearrt.errors import Equivocation, PearrtError
from pearrt.link import Link
from pearrt.trust.app import TrustedApp
from pearrt.trust.choice import Machine, choose
from pearrt.trust.contradiction import Contradiction
from pearrt.trust.metadata_set import MetadataSet
from tests.support import (
    metadata_broken,
    metadata_broken_updates,
    metadata_channels_broken,
    metadata_logged,
    metadata_witnessed,
)
from tests.support.logged_repository import LoggedRepository
from tests.support.metadata_cases import BROKEN, Case, cases
from tests.support.metadata_channels import revocation, staged
from tests.support.repository import DAY, NOW, Repository, index_target
from tests.support.witnessed_repository import WitnessedRepository

FOLDER = Path(__file__).parents[1] / "vectors" / "trust"
MAX_BAD_BYTES = 8000
CORPUS = (  # they fill the registry
    metadata_broken,
    metadata_broken_updates,
    metadata_channels_broken,
    metadata_logged,
    metadata_witnessed,
)
SIGNERS = ("ada", "bob", "cyd", "dan", "eve")


def step(metadata: MetadataSet, now: float, expect: dict[str, Any]) -> dict[str, Any]:
    return {"now": int(now), **blobs(metadata), "expect": expect}


def blobs(metadata: MetadataSet) -> dict[str, Any]:
    found: dict[str, Any] = {
        "roots": [root.decode() for root in metadata.roots],
        "timestamp": metadata.timestamp.decode(),
        "snapshot": metadata.snapshot.decode(),
        "targets": metadata.targets.decode(),
    }
    if metadata.delegated:
        found["delegated"] = {name: raw.decode() for name, raw in metadata.delegated.items()}
    if metadata.witnessed:
        found["witnessed"] = {name: data.hex() for name, data in metadata.witnessed.items()}
    if metadata.logs:
        found["logs"] = {role: log.hex() for role, log in metadata.logs.items()}
    return found


def metadata_of(found: dict[str, Any]) -> MetadataSet:
    """The inverse of `blobs`."""
    roots = tuple(root.encode() for root in found["roots"])
    top = (found[role].encode() for role in ("timestamp", "snapshot", "targets"))
    delegated = {name: raw.encode() for name, raw in found.get("delegated", {}).items()}
    logs = {role: bytes.fromhex(log) for role, log in found.get("logs", {}).items()}
    witnessed = {name: bytes.fromhex(data) for name, data in found.get("witnessed", {}).items()}
    return MetadataSet(roots, *top, delegated, logs, witnessed)


def story(repository: Repository, steps: list[dict[str, Any]]) -> dict[str, Any]:
    key = repository.app_key
    return {"app_key": key.hex(), "link": str(Link(key)), "steps": steps}


def solo() -> dict[str, Any]:
    repository = Repository(("ada",), 1).release("1.0")
    first = repository.metadata()
    second = repository.release("1.1").metadata()
    return story(
        repository,
        [
            step(first, NOW, {"release": "1.0", "freshness": "fresh"}),
            step(second, NOW + DAY, {"release": "1.1", "freshness": "fresh"}),
            step(first, NOW + DAY, {"error": "rollback"}),
        ],
    )


def three_of_five() -> dict[str, Any]:
    repository = Repository(SIGNERS, 3).release("1.0")
    first = repository.metadata()
    short = repository.copy().release("1.1")
    short.names["targets"] = ["ada", "bob"]
    other = repository.copy()
    other["timestamp"]["x-other"] = True
    return story(
        repository,
        [
            step(first, NOW, {"release": "1.0", "freshness": "fresh"}),
            step(short.metadata(), NOW, {"error": "threshold-not-met"}),
            step(other.metadata(), NOW, {"error": "equivocation"}),
            step(repository.copy().release("1.1").metadata(), NOW + 8 * DAY, {"error": "expired"}),
        ],
    )


def rotation() -> dict[str, Any]:
    repository = Repository(("ada", "bob", "cyd"), 2).release("1.0")
    first = repository.metadata()
    revoked = repository.copy().release("6.6.6").release("6.6.7")
    repository.rotate(("bob", "cyd", "dan"), 2, "hb2").release("2.0")
    return story(
        repository,
        [
            step(first, NOW, {"release": "1.0", "freshness": "fresh"}),
            step(repository.metadata(), NOW, {"release": "2.0", "freshness": "fresh"}),
            step(revoked.metadata(), NOW, {"error": "threshold-not-met"}),
        ],
    )


def channels() -> dict[str, Any]:
    """Beta gets signers of its own, is handed over, and comes back; its former signers try again."""
    repository = Repository(("ada", "bob", "cyd"), 2).release("1.0").release("1.1b", "beta/any")
    steps = [step(repository.metadata(), NOW, current("1.0", beta="1.1b"))]
    del repository["targets"]["targets"]["beta/any"]
    repository.delegate("beta", ("dan", "eve"), 1).release("2.0b", "beta/any")
    steps.append(step(repository.metadata(), NOW, current("1.0", beta="2.0b")))
    short = repository.copy().release("6.6.6", "beta/any")
    short.names["beta"] = ["ada", "bob"]
    steps.append(step(short.metadata(), NOW, {"error": "threshold-not-met"}))
    older = repository.copy().bump()
    older["beta"]["version"] -= 1
    steps.append(step(older.metadata(), NOW, {"error": "rollback"}))
    former = repository.copy()
    repository.delegate("beta", ("fay",), 1).release("3.0b", "beta/any")
    steps.append(step(repository.metadata(), NOW, current("1.0", beta="3.0b")))
    forged = repository.copy().release("6.6.6", "beta/any")
    forged.names["beta"] = former.names["beta"]
    steps.append(step(forged.metadata(), NOW, {"error": "threshold-not-met"}))
    repository.take_back("beta")
    steps.append(step(repository.metadata(), NOW, current("1.0")))
    forgotten = repository.copy().bump()
    del forgotten["snapshot"]["meta"]["beta.json"]
    steps.append(step(forgotten.metadata(), NOW, {"error": "rollback"}))
    return story(repository, steps)


def current(stable: str, **channels: str) -> dict[str, Any]:
    return {"release": stable, "freshness": "fresh", "channels": channels}


def choice() -> dict[str, Any]:
    """A rollout in stages, variants, a needed runtime; then the release is revoked."""
    repository = Repository().release("1.0")
    targets = repository["targets"]["targets"]
    targets["stable/any"] = staged("2.0", "1.0")
    targets["stable/linux-x86_64-cp311"] = index_target("2.0-cp311")
    repository.bump("targets")
    machines = [
        {"seed": bytes([number]) * 32, "platforms": ["any"], "runtime": runtime, "now": now}
        for number in range(12)
        for now in (NOW, NOW + DAY)
        for runtime in ("0.1.0", "0.0.9")[: 1 if number else 2]
    ]
    machines.append(
        {"seed": bytes(32), "platforms": ["linux-x86_64-cp311", "any"], "runtime": "1", "now": NOW}
    )
    steps = [step(repository.metadata(), NOW, current("2.0") | {"takes": taken(repository, machines)})]
    repository["targets"]["x-pearrt-revoked"] = [revocation("2.0", "return"), revocation("0.9", "warn")]
    repository.bump("targets")
    revoked = {each["digest"]: each["action"] for each in repository["targets"]["x-pearrt-revoked"]}
    expect = current("2.0") | {"takes": taken(repository, machines[:2]), "revoked": revoked}
    steps.append(step(repository.metadata(), NOW, expect))
    return story(repository, steps)


def log() -> dict[str, Any]:
    """A log of releases: several are skipped; then a secret one is found, with the proof of the fork."""
    repository = LoggedRepository(("ada", "bob", "cyd"), 2).release("1.0")
    steps = [step(repository.metadata(), NOW, current("1.0"))]
    for version in ("1.1", "1.2", "1.3"):
        repository.release(version)
    steps.append(step(repository.metadata(), NOW, current("1.3")))
    secret = repository.copy().release("6.6.6")
    steps.append(step(secret.metadata(), NOW, current("6.6.6")))
    repository.release("2.0").release("2.1")
    trusted = TrustedApp.first(secret.app_key, secret.metadata(), NOW)
    try:
        trusted.update(repository.metadata(), NOW)
    except Equivocation as e:
        proof = Contradiction(e.first, e.second, e.evidence).encode().hex()
    steps.append(step(repository.metadata(), NOW, {"error": "equivocation", "proof": proof}))
    return story(repository, steps)


def witness() -> dict[str, Any]:
    """Two of three witnesses see every release; a quorum of stolen keys makes one that they do not see."""
    repository = WitnessedRepository(("ada", "bob", "cyd"), 2)
    repository.release("1.0")
    steps = [step(repository.metadata(), NOW, current("1.0"))]
    thief = repository.copy()
    thief.seeing = []
    thief.release("6.6.6")
    steps.append(step(thief.metadata(), NOW, {"error": "threshold-not-met"}))
    thief = repository.copy()
    thief.name_witnesses(seen_by=())
    steps.append(step(thief.metadata(), NOW, {"error": "threshold-not-met"}))
    replayed = replace(repository.copy().release("1.1").metadata(), witnessed=repository.witnessed())
    steps.append(step(replayed, NOW, {"error": "bad-signature"}))
    repository.seeing = ["wim", "yan"]
    repository.release("1.1")
    steps.append(step(repository.metadata(), NOW, current("1.1")))
    repository.name_witnesses("zoe", quorum=1)
    repository.release("2.0")
    steps.append(step(repository.metadata(), NOW, current("2.0")))
    return story(repository, steps)


def taken(repository: Repository, machines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    trusted = TrustedApp.first(repository.app_key, repository.metadata(), NOW)
    found = []
    for each in machines:
        machine = Machine(tuple(each["platforms"]), each["runtime"], each["seed"])
        release = choose(trusted, "stable", machine, each["now"]).release
        version = release and release.version
        found.append({**each, "seed": each["seed"].hex(), "now": int(each["now"]), "version": version})
    return found


def bad() -> dict[str, Any]:
    """One case of each class that must be refused and that fits."""
    found = []
    for name, case in cases(BROKEN, 1):
        if len(case.new.encode()) > MAX_BAD_BYTES:
            continue
        described: dict[str, Any] = {"name": name, "app_key": case.app_key.hex(), "now": int(case.now)}
        if case.old is not None:
            described["old"] = blobs(case.old)
        found.append({**described, "new": blobs(case.new), "error": error_of(case)})
    return {"cases": found}


def error_of(case: Case) -> str:
    """The code of our refusal; "" where there is none."""
    try:
        if case.old is None:
            trusted = TrustedApp.first(case.app_key, case.new, case.now)
        else:
            trusted = TrustedApp.first(case.app_key, case.old, 0.0).update(case.new, case.now)
        for channel in trusted.channels:
            trusted.check_expiry(case.now, channel)
    except PearrtError as e:
        return e.code
    return ""


STORIES = {
    "solo": solo,
    "three_of_five": three_of_five,
    "rotation": rotation,
    "channels": channels,
    "choice": choice,
    "log": log,
    "witness": witness,
}
ALL = {**STORIES, "bad": bad}


def text(name: str) -> str:
    return json.dumps(ALL[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ALL:
        (FOLDER / f"{name}.json").write_text(text(name))

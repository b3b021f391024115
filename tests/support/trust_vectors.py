"""The trust vectors in `tests/vectors/trust/`; `python -m tests.support.trust_vectors` writes them.

Each file is a story: an app key, its link, and steps that a verifier takes in order. A step is a metadata
set, the time, and what must come of it: the `release` version and freshness, or the code of the error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pearrt.link import Link
from pearrt.trust import MetadataSet
from tests.support.repository import DAY, NOW, Repository

FOLDER = Path(__file__).parents[1] / "vectors" / "trust"
SIGNERS = ("ada", "bob", "cyd", "dan", "eve")


def step(metadata: MetadataSet, now: float, expect: dict[str, str]) -> dict[str, Any]:
    return {
        "now": int(now),
        "roots": [root.decode() for root in metadata.roots],
        "timestamp": metadata.timestamp.decode(),
        "snapshot": metadata.snapshot.decode(),
        "targets": metadata.targets.decode(),
        "expect": expect,
    }


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


STORIES = {"solo": solo, "three_of_five": three_of_five, "rotation": rotation}


def text(name: str) -> str:
    return json.dumps(STORIES[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in STORIES:
        (FOLDER / f"{name}.json").write_text(text(name))

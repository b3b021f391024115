"""The vectors that other implementations share, and the verifier on the standard library alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pearrt.errors import PearrtError
from pearrt.link import Link
from pearrt.trust.app import TrustedApp
from pearrt.trust.choice import Machine, choose
from pearrt.trust.contradiction import Contradiction
from tests.support import trust_vectors
from tests.support.metadata_cases import Case

ROOT = Path(__file__).parents[3]
stories = pytest.mark.parametrize("name", sorted(trust_vectors.STORIES))


@pytest.mark.parametrize("name", sorted(trust_vectors.ALL))
def test_the_files_are_what_the_generator_makes(name: str) -> None:
    path = trust_vectors.FOLDER / f"{name}.json"
    assert path.read_text() == trust_vectors.text(name), "run python -m tests.support.trust_vectors"


@stories
def test_the_verifier_takes_every_step_as_expected(name: str) -> None:
    story = json.loads((trust_vectors.FOLDER / f"{name}.json").read_text())
    assert Link.parse(story["link"]).app_key.hex() == story["app_key"]
    trusted: TrustedApp | None = None
    for step in story["steps"]:
        metadata, now, expect = trust_vectors.metadata_of(step), float(step["now"]), step["expect"]
        if "error" in expect:
            assert trusted is not None
            with pytest.raises(PearrtError) as caught:
                trusted.update(metadata, now)
            assert caught.value.code == expect["error"]
            if "proof" in expect:
                Contradiction.decode(bytes.fromhex(expect["proof"])).check(trusted)
            continue
        key = bytes.fromhex(story["app_key"])
        trusted = trusted.update(metadata, now) if trusted else TrustedApp.first(key, metadata, now)
        release = trusted.release()
        assert release is not None
        assert release.version == expect["release"]
        assert trusted.freshness(now).state.value == expect["freshness"]
        check_more(trusted, expect)


def check_more(trusted: TrustedApp, expect: dict[str, Any]) -> None:
    """What the later stories expect besides."""
    for channel, version in expect.get("channels", {}).items():
        release = trusted.release(channel)
        assert release is not None
        assert release.version == version
    for each in expect.get("takes", ()):
        machine = Machine(tuple(each["platforms"]), each["runtime"], bytes.fromhex(each["seed"]))
        chosen = choose(trusted, "stable", machine, each["now"]).release
        assert (chosen and chosen.version) == each["version"]
    for digest, action in expect.get("revoked", {}).items():
        revocation = trusted.revoked(bytes.fromhex(digest))
        assert revocation is not None
        assert revocation.action.value == action


def test_every_bad_vector_is_refused_for_its_own_reason() -> None:
    found = json.loads((trust_vectors.FOLDER / "bad.json").read_text())["cases"]
    assert len(found) >= 60
    for case in found:
        old = trust_vectors.metadata_of(case["old"]) if "old" in case else None
        new, key = trust_vectors.metadata_of(case["new"]), bytes.fromhex(case["app_key"])
        error = trust_vectors.error_of(Case(new, key, old, case["now"]))
        assert error == case["error"] != "", case["name"]


IN_A_BARE_PYTHON = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pearrt.crypto import ed25519
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MetadataSet
assert not ed25519.HAVE_SODIUM
story = json.load(open(sys.argv[2]))
step = story["steps"][0]
roots = tuple(root.encode() for root in step["roots"])
metadata = MetadataSet(roots, *(step[role].encode() for role in ("timestamp", "snapshot", "targets")))
trusted = TrustedApp.first(bytes.fromhex(story["app_key"]), metadata, step["now"])
loaded = {name.partition(".")[0] for name in sys.modules}
print(trusted.release().version, sorted(loaded - set(sys.stdlib_module_names) - {"pearrt", "__main__"}))
"""


def test_the_verifier_runs_on_the_standard_library_alone() -> None:
    """As in the bootstrapper: no site-packages, so no PyNaCl, and the pure Ed25519 takes its place."""
    command = [sys.executable, "-I", "-S", "-c", IN_A_BARE_PYTHON, str(ROOT)]
    done = subprocess.run(
        [*command, str(trust_vectors.FOLDER / "three_of_five.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split(maxsplit=1)[0] == "1.0"
    assert "[]" in done.stdout

"""python-tuf as the oracle: nothing that it refuses is accepted here, and whatever is valid both accept."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from pearrt.errors import PearrtError, RemoteError, TrustError
from pearrt.trust.app import TrustedApp
from tests.support import (
    metadata_broken,
    metadata_broken_updates,
    metadata_channels,
    metadata_channels_broken,
    metadata_either,
    metadata_logged,
    metadata_valid,
    metadata_witnessed,
    trust_vectors,
)
from tests.support.metadata_cases import BROKEN, EITHER, VALID, Case, cases
from tests.support.require import require_module

CORPUS = (  # they fill the registries
    metadata_valid,
    metadata_broken,
    metadata_broken_updates,
    metadata_channels,
    metadata_channels_broken,
    metadata_either,
    metadata_logged,
    metadata_witnessed,
)
EACH_VALID = 10
EACH_BROKEN = 7
EACH_EITHER = 40


def ours(case: Case) -> PearrtError | None:
    """What our verifier says: None where it accepts."""
    try:
        trusted = judged(case)
        for channel in trusted.channels:  # what an installation from the channel asks for, too
            trusted.check_expiry(case.now, channel)
    except (TrustError, RemoteError) as e:
        return e
    return None


def judged(case: Case) -> TrustedApp:
    if case.old is None:
        return TrustedApp.first(case.app_key, case.new, case.now)
    # The old set was trusted while it was fresh, so its floor of time is older than the case's `now`.
    return TrustedApp.first(case.app_key, case.old, 0.0).update(case.new, case.now)


def check_same_releases(name: str, case: Case) -> None:
    """Both find the same index under every path, whoever is asked first."""
    from tests.support import tuf_oracle

    trusted = judged(case)
    for release in trusted.releases:
        found = tuf_oracle.found_index(trusted.metadata, case.now, release.path)
        assert found == release.index_digest.hex(), (
            f"{name}: python-tuf finds another index for {release.path}"
        )
        ours = trusted.release(release.channel, (release.platform,))
        assert ours == release, f"{name}: {release.path} is not what is offered for it"


def theirs(case: Case) -> bool:
    from tests.support import tuf_oracle

    if case.old is None:
        return tuf_oracle.accepts(case.new, case.now)
    return tuf_oracle.accepts_update(case.old, case.new, case.now)


def test_no_vector_that_we_accept_is_refused_by_python_tuf() -> None:
    require_module("tuf")
    for name in trust_vectors.STORIES:
        story = json.loads((trust_vectors.FOLDER / f"{name}.json").read_text())
        key, old = bytes.fromhex(story["app_key"]), None
        for step in story["steps"]:
            case = Case(trust_vectors.metadata_of(step), key, old, float(step["now"]))
            assert ("error" in step["expect"]) == (ours(case) is not None), f"{name}: {step['expect']}"
            if "error" not in step["expect"]:
                assert theirs(case), f"{name}: python-tuf refuses what is expected to be accepted"
                check_same_releases(name, case)
                old = case.new
    for case in json.loads((trust_vectors.FOLDER / "bad.json").read_text())["cases"]:
        trusted = trust_vectors.metadata_of(case["old"]) if "old" in case else None
        offered = trust_vectors.metadata_of(case["new"])
        bad = Case(offered, bytes.fromhex(case["app_key"]), trusted, float(case["now"]))
        theirs(bad)  # whatever it says: where it accepts, we are stricter
        assert ours(bad) is not None, case["name"]


def test_we_never_accept_what_python_tuf_rejects_and_both_accept_all_that_is_valid(
    capsys: pytest.CaptureFixture[str],
) -> None:
    require_module("tuf")
    rows: Counter[tuple[str, str, bool, str]] = Counter()
    for kind, makers, each in (
        ("valid", VALID, EACH_VALID),
        ("broken", BROKEN, EACH_BROKEN),
        ("either", EITHER, EACH_EITHER),
    ):
        for name, case in cases(makers, each):
            verdict, accepted = ours(case), theirs(case)
            said = "accepts" if verdict is None else verdict.code
            assert accepted or verdict is not None, f"{name}: python-tuf rejects what we accept"
            if kind == "valid":
                assert verdict is None, f"{name}: we refuse a valid set: {verdict}"
                assert accepted, f"{name}: python-tuf refuses a set meant to be valid"
            if kind == "broken":
                assert verdict is not None, f"{name}: we accept a broken set"
            if verdict is None:
                check_same_releases(name, case)
            rows[kind, name, accepted, said] += 1
    total = rows.total()
    with capsys.disabled():
        print(
            f"\n{total} metadata sets, {len(VALID)} valid, {len(BROKEN)} broken, {len(EITHER)} random classes"
        )
        stricter = sum(n for (*_, accepted, said), n in rows.items() if accepted and said != "accepts")
        print(f"{stricter} sets are accepted by python-tuf and refused here")
        for (kind, name, accepted, said), count in rows.items():
            theirs_said = "accepts" if accepted else "rejects"
            print(f"  {kind:6} {name:60.60} {count:3}  python-tuf {theirs_said}, we: {said}")
    assert total >= 500

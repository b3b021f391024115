"""Which release a machine takes: rollout by percentage and time, platforms, revocation, needed runtime."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest

from pearrt.trust.app import TrustedApp
from pearrt.trust.choice import Choice, Machine, choose
from pearrt.trust.rollout import RolloutStep, bucket_of, percent_at
from tests.support.metadata_channels import revocation, staged
from tests.support.refusal import install
from tests.support.repository import APP_ID, DAY, NOW, Document, Repository, index_target

HERE = ("linux-x86_64-cp311", "linux-x86_64", "any")


def machine(number: int = 0, platforms: tuple[str, ...] = HERE, runtime: str = "1.0") -> Machine:
    return Machine(platforms, runtime, number.to_bytes(32, "big"))


def offered(**targets: Document) -> TrustedApp:
    repository = Repository().release("1.0")
    repository["targets"]["targets"] = {f"stable/{name}": target for name, target in targets.items()}
    return install(repository, NOW - 9 * DAY)


def taken(choice: Choice) -> str | None:
    return choice.release and choice.release.version


def reached(trusted: TrustedApp, now: float, count: int = 400) -> set[int]:
    return {
        number for number in range(count) if taken(choose(trusted, "stable", machine(number), now)) == "2.0"
    }


def test_a_rollout_reaches_about_as_many_machines_as_it_says_and_only_ever_more() -> None:
    target = staged("2.0", "1.0")
    trusted = offered(any=target)
    steps = [(NOW - 1, 0), (NOW, 5), (NOW + DAY - 1, 5), (NOW + DAY, 100)]
    before: set[int] = set()
    for now, percent in steps:
        found = reached(trusted, now)
        assert before <= found
        assert abs(len(found) / 4 - percent) <= 4
        before = found


def test_those_who_wait_have_the_release_before_and_are_told_why() -> None:
    choice = choose(offered(any=staged("2.0", "1.0")), "stable", machine(), NOW - DAY)
    assert taken(choice) == "1.0"
    assert choice.newest is not None
    assert choice.newest.version == "2.0"
    assert "rolled out in stages; it has reached 0 %" in choice.reason


def test_another_release_is_another_draw() -> None:
    buckets = [bucket_of(APP_ID, bytes([number]) * 32, bytes(32)) for number in range(60)]
    assert len(set(buckets)) > 30
    spread = Counter(bucket_of(APP_ID, bytes(32), number.to_bytes(32, "big")) // 10 for number in range(2000))
    assert set(spread) == set(range(10))
    assert min(spread.values()) > 150


def test_the_bucket_is_what_the_specification_says() -> None:
    digest, seed = hashlib.sha256(b"index").digest(), bytes(range(32))
    drawn = hashlib.sha256(b"pearrt-rollout-v1\0" + bytes.fromhex(APP_ID) + digest + seed).digest()
    assert bucket_of(APP_ID, digest, seed) == int.from_bytes(drawn[:8], "big") % 100


def test_the_person_and_the_signers_of_a_security_release_do_not_wait() -> None:
    assert (
        taken(choose(offered(any=staged("2.0", "1.0")), "stable", machine(), NOW - DAY, eager=True)) == "2.0"
    )
    urgent = staged("2.0", "1.0")
    urgent["custom"]["security"] = True
    assert taken(choose(offered(any=urgent), "stable", machine(), NOW - DAY)) == "2.0"


def test_a_rollout_with_nothing_before_it_holds_nobody_back() -> None:
    assert taken(choose(offered(any=staged("2.0")), "stable", machine(), NOW - DAY)) == "2.0"


def test_a_clock_that_is_set_back_does_not_undo_a_rollout() -> None:
    repository = Repository()
    repository["targets"]["targets"]["stable/any"] = staged("2.0", "1.0")
    trusted = install(repository.bump("targets"), NOW + 2 * DAY)
    assert taken(choose(trusted, "stable", machine(), NOW - 9 * DAY)) == "2.0"


@pytest.mark.parametrize(
    ("needed", "runtime", "taken_version"),
    [
        ("1.0", "1.0", "2.0"),
        ("1", "1.0.0", "2.0"),
        ("1.0.1", "1.0", "1.0"),
        ("1.10", "1.9", "1.0"),
        ("1.9", "1.10.dev3", "2.0"),
        ("2", "1.99.99", "1.0"),
        ("0.2", "0.2.0rc1", "2.0"),
    ],
)
def test_a_release_that_needs_a_newer_pearrt_is_not_taken_and_says_so(
    needed: str, runtime: str, taken_version: str
) -> None:
    target = index_target("2.0")
    target["custom"] |= {"min_runtime": needed, "before": index_target("1.0")}
    target["custom"]["before"]["custom"]["sequence"] = 1
    choice = choose(offered(any=target), "stable", machine(runtime=runtime), NOW, eager=True)
    assert taken(choice) == taken_version
    assert choice.reason == (
        "" if taken_version == "2.0" else f"Ledger 2.0 needs pearrt {needed}; this is {runtime}."
    )


def test_a_revoked_release_is_not_taken_nor_is_one_before_it_that_is_revoked_too() -> None:
    repository = Repository()
    repository["targets"]["targets"]["stable/any"] = staged("2.0", "1.0")
    repository["targets"]["x-pearrt-revoked"] = [revocation("2.0")]
    choice = choose(install(repository.bump("targets")), "stable", machine(), NOW + 9 * DAY, eager=True)
    assert (taken(choice), choice.reason) == ("1.0", "Ledger 2.0 was revoked by its signers: It loses data.")
    repository["targets"]["x-pearrt-revoked"].append(revocation("1.0", "warn"))
    trusted = install(repository)
    assert taken(choose(trusted, "stable", machine(), NOW)) is None
    found = trusted.revoked(hashlib.sha256(b"1.0").digest())
    assert found is not None
    assert (found.action.value, found.reason) == ("warn", "It loses data.")
    assert trusted.revoked(bytes(32)) is None


@pytest.mark.parametrize(
    ("platforms", "version"),
    [
        (HERE, "cp311"),
        (("linux-x86_64-cp312", "linux-x86_64", "any"), "linux"),
        (("linux-aarch64-cp311", "linux-aarch64", "any"), "any"),
        (("macos-arm64",), None),
    ],
)
def test_the_most_particular_variant_is_taken(platforms: tuple[str, ...], version: str | None) -> None:
    targets: dict[str, Any] = {
        "linux-x86_64-cp311": index_target("cp311"),
        "linux-x86_64": index_target("linux"),
        "any": index_target("any"),
    }
    assert taken(choose(offered(**targets), "stable", machine(platforms=platforms), NOW)) == version


def test_percent_without_a_rollout_is_all() -> None:
    assert percent_at((), 0) == 100
    assert percent_at((RolloutStep(NOW, 7),), NOW - 1) == 0

"""What is trusted moves forward, all or nothing; it survives restarts and the publisher."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from pearrt.errors import Corrupt, Expired, PearrtError, Rollback
from pearrt.trust.app import TrustedApp
from pearrt.trust.freshness import FreshnessState
from tests.support.repository import DAY, NOW, Repository, flip, index_target, text_of

YEAR = 365 * DAY


@pytest.fixture
def repository() -> Repository:
    return Repository().release("1.0")


def install(repository: Repository, now: float = NOW) -> TrustedApp:
    return TrustedApp.first(repository.app_key, repository.metadata(), now)


def version(trusted: TrustedApp) -> str:
    release = trusted.release()
    assert release is not None
    return release.version


def test_a_first_install_shows_release_signers_and_freshness(repository: Repository) -> None:
    trusted = install(repository)
    assert version(trusted) == "1.0"
    assert trusted.threshold == 2
    assert len(trusted.signers) == 3
    assert len(trusted.signed_by) == 2
    assert trusted.root_version == 1
    assert trusted.freshness(NOW).state is FreshnessState.FRESH


def test_an_update_leaves_the_old_state_as_it_was(repository: Repository) -> None:
    trusted = install(repository)
    newer = trusted.update(repository.release("2.0").metadata(), NOW)
    assert (version(trusted), version(newer)) == ("1.0", "2.0")
    with pytest.raises(FrozenInstanceError):
        trusted.time_floor = 0.0  # type: ignore[misc]


def test_a_refused_update_leaves_the_old_state_as_it_was(repository: Repository) -> None:
    trusted = install(repository)
    before = trusted.state()
    with pytest.raises(PearrtError):
        trusted.update(replace(repository.release("2.0").metadata(), targets=b"{}"), NOW)
    assert trusted.state() == before


def test_the_same_set_again_changes_nothing(repository: Repository) -> None:
    trusted = install(repository)
    assert trusted.update(repository.metadata(), NOW) == trusted


def test_an_update_needs_only_the_roots_that_are_new(repository: Repository) -> None:
    trusted = install(repository)
    metadata = repository.rotate(("bob", "cyd", "dan"), 2, times=3).release("2.0").metadata()
    assert version(trusted.update(replace(metadata, roots=metadata.roots[1:]), NOW)) == "2.0"
    newest = trusted.update(metadata, NOW)
    assert newest.root_version == 4
    assert newest.metadata.roots == metadata.roots
    after = repository.release("3.0").metadata()
    for roots in ((), after.roots, after.roots[2:], after.roots[3:]):
        assert newest.update(replace(after, roots=roots), NOW).metadata.roots == metadata.roots


def test_known_roots_keep_their_bytes_whoever_sends_them_again(repository: Repository) -> None:
    """The same root with another trio of signatures is the same root."""
    trusted = install(repository)
    later = repository.copy().release("2.0")
    later.recommit_root("bob", "cyd")
    assert later.roots != repository.roots
    assert trusted.update(later.metadata(), NOW).metadata.roots == tuple(repository.roots)


def test_what_a_set_serves_to_others_is_what_came_in(repository: Repository) -> None:
    metadata = repository.metadata()
    assert install(repository).metadata == metadata


# State on disk.


def test_state_survives_a_restart_even_years_after_the_publisher_is_gone(repository: Repository) -> None:
    trusted = install(repository)
    restored = TrustedApp.restore(repository.app_key, trusted.state())
    assert restored == trusted
    assert restored.freshness(NOW + 50 * YEAR).state is FreshnessState.STALE
    assert version(restored) == "1.0"


def test_a_restored_state_still_refuses_to_go_back(repository: Repository) -> None:
    older = repository.metadata()
    restored = TrustedApp.restore(repository.app_key, install(repository.release("2.0")).state())
    with pytest.raises(Rollback):
        restored.update(older, NOW)


def test_damaged_state_is_an_error_of_the_disk_not_of_a_peer(repository: Repository) -> None:
    state = install(repository).state()
    for at in range(0, len(state), 97):
        for damaged in (state[:at], flip(state, at)):
            with pytest.raises(Corrupt):
                TrustedApp.restore(repository.app_key, damaged)
    for other in (b"", b"de", b"le", b"d8:metadata0:10:time_floor1:ae"):
        with pytest.raises(Corrupt):
            TrustedApp.restore(repository.app_key, other)
    with pytest.raises(Corrupt):
        TrustedApp.restore(bytes(32), state)


# Time.


def test_expiry_never_stops_what_is_installed(repository: Repository) -> None:
    trusted = install(repository)
    late = NOW + 10 * YEAR
    assert trusted.update(repository.metadata(), late) == trusted
    assert trusted.freshness(late).state is FreshnessState.STALE
    assert trusted.freshness(late).confirmed_at == NOW


def test_stale_metadata_is_installed_with_the_persons_yes_and_says_when_it_was_confirmed(
    repository: Repository,
) -> None:
    late = NOW + 40 * DAY
    with pytest.raises(Expired):
        install(repository, late)
    trusted = TrustedApp.first(repository.app_key, repository.metadata(), late, allow_expired=True)
    assert trusted.freshness(late).state is FreshnessState.STALE
    assert trusted.freshness(late).confirmed_at == NOW


def test_an_update_to_newer_but_expired_metadata_takes_the_persons_yes_too(repository: Repository) -> None:
    trusted, late = install(repository), NOW + 40 * DAY
    newer = repository.release("2.0").metadata()
    with pytest.raises(Expired):
        trusted.update(newer, late)
    assert version(trusted.update(newer, late, allow_expired=True)) == "2.0"


def test_metadata_that_was_looked_at_but_never_installed_is_no_yes_to_install_it(
    repository: Repository,
) -> None:
    late = NOW + 40 * DAY
    seen = TrustedApp.first(repository.app_key, repository.metadata(), late, allow_expired=True)
    again = seen.update(repository.metadata(), late)
    with pytest.raises(Expired, match="last confirmed at 2030-03-17"):
        again.check_expiry(late)
    again.check_expiry(NOW + DAY)


def test_the_yes_is_to_staleness_and_to_nothing_else(repository: Repository) -> None:
    trusted = install(repository.copy().release("2.0"))
    with pytest.raises(Rollback):
        trusted.update(repository.metadata(), NOW + 40 * DAY, allow_expired=True)


def test_time_never_moves_back_and_survives_a_restart(repository: Repository) -> None:
    trusted = install(repository, NOW + 3 * DAY)
    assert trusted.update(repository.metadata(), NOW).time_floor == NOW + 3 * DAY
    restored = TrustedApp.restore(repository.app_key, trusted.state())
    assert restored.time_floor == NOW + 3 * DAY


def test_the_floor_outlives_metadata_that_expires_before_it(repository: Repository) -> None:
    trusted = install(repository, NOW + 6 * DAY)
    repository.release("2.0")["timestamp"]["expires"] = text_of(NOW + 5 * DAY)
    late = trusted.update(repository.metadata(), NOW, allow_expired=True)
    assert TrustedApp.restore(repository.app_key, late.state()).time_floor == NOW + 6 * DAY


def test_a_clock_far_in_the_future_does_not_poison_the_floor(repository: Repository) -> None:
    """Only a time at which the metadata was valid is believed, so a wrong year does no lasting harm."""
    trusted = install(repository).update(repository.metadata(), NOW + 30 * YEAR)
    assert trusted.time_floor == NOW
    assert version(trusted.update(repository.release("2.0").metadata(), NOW + DAY)) == "2.0"


@pytest.mark.parametrize(
    ("period", "now", "state"),
    [
        (86400, NOW, FreshnessState.FRESH),
        (86400, NOW + 7 * DAY - 1, FreshnessState.FRESH),
        (86400, NOW + 7 * DAY, FreshnessState.STALE),
        (86400, NOW - DAY, FreshnessState.UNKNOWN),
        (0, NOW, FreshnessState.UNKNOWN),
        (0, NOW + 8 * DAY, FreshnessState.STALE),
    ],
)
def test_freshness(repository: Repository, period: int, now: float, state: FreshnessState) -> None:
    repository["timestamp"]["x-pearrt-period"] = period
    trusted = TrustedApp.first(repository.app_key, repository.metadata(), now, allow_expired=True)
    found = trusted.freshness(now)
    assert found.state is state
    assert found.confirmed_at == min(NOW, now)


def test_any_role_that_expires_makes_it_stale(repository: Repository) -> None:
    repository["targets"]["expires"] = text_of(NOW + DAY)
    assert install(repository).freshness(NOW + DAY).state is FreshnessState.STALE


# Releases.


def test_the_release_for_this_platform_goes_before_the_one_for_any(repository: Repository) -> None:
    targets = repository["targets"]["targets"]
    targets["stable/linux-x86_64"] = index_target("1.0-linux")
    targets["beta/any"] = index_target("2.0b")
    targets["beta/macos-arm64"] = index_target("2.0b-mac")
    targets["something/of/later"] = {"length": 0, "hashes": {"sha256": "0" * 64}}
    trusted = install(repository)

    def found(*args: str) -> str | None:
        release = trusted.release(*args)
        return release and release.version

    assert found() == found("stable", "macos-arm64") == "1.0"
    assert found("stable", "linux-x86_64") == "1.0-linux"
    assert found("beta", "macos-arm64") == "2.0b-mac"
    assert found("beta", "linux-x86_64") == "2.0b"
    assert found("nightly") is None
    assert len(trusted.releases) == 4


def test_there_may_be_no_release_for_this_platform(repository: Repository) -> None:
    repository["targets"]["targets"] = {"stable/macos-arm64": index_target("1.0")}
    trusted = install(repository)
    assert trusted.release(platform="linux-x86_64") is None
    assert trusted.release() is None

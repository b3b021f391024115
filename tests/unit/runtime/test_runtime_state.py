"""Which version runs: the transitions, exhaustively, and what may never happen whatever the order."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pearrt.errors import Corrupt, UserError
from pearrt.runtime import state as states
from pearrt.runtime.state import MAX_FAILED, MAX_REASON_CHARS, RuntimeState

LINK = "pearrt://" + "y" * 55
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
DIGESTS = [letter * 64 for letter in "abcdef"]


def on_trial() -> RuntimeState:
    return states.begin(states.install(RuntimeState(), LINK, A, "1"), B, "2")


def test_the_first_version_is_confirmed_and_a_second_install_changes_nothing() -> None:
    state = states.install(RuntimeState(), LINK, A, "1")
    assert (state.runs, state.current, state.link, state.name(A)) == (A, A, LINK, "1")
    assert states.install(state, LINK, B, "2") == state


def test_what_failed_is_never_begun_again_unless_the_person_wants_it() -> None:
    state = states.fail(on_trial(), "it fell over")
    with pytest.raises(UserError, match="it fell over") as refused:
        states.begin(state, B, "2")
    assert "pearrt update --retry" in refused.value.hint
    again = states.begin(state, B, "2", retry=True)
    assert (again.runs, dict(again.failed)) == (B, {})
    assert states.fail(again, "again").failed == {B: "again"}


def test_a_confirmed_version_keeps_its_predecessor_and_no_more() -> None:
    state = states.confirm(on_trial(), B)
    assert (state.current, state.previous, state.trial) == (B, A, "")
    state = states.confirm(states.begin(state, C, "3"), C)
    assert (state.current, state.previous, state.kept) == (C, B, {B, C})


def test_only_the_trial_confirms_itself() -> None:
    assert states.confirm(on_trial(), A) == on_trial()
    assert states.confirm(RuntimeState(), "") == RuntimeState()


def test_one_trial_at_a_time() -> None:
    with pytest.raises(UserError, match="on trial already"):
        states.begin(on_trial(), C, "3")


def test_the_person_steps_back_once_and_then_there_is_nothing_left() -> None:
    state = states.roll_back(states.confirm(on_trial(), B), "by hand")
    assert (state.current, state.previous, dict(state.failed)) == (A, "", {B: "by hand"})
    with pytest.raises(UserError, match="no previous"):
        states.roll_back(state, "again")


def test_reasons_and_failures_are_bounded() -> None:
    state = states.install(RuntimeState(), LINK, A, "1")
    for number in range(3 * MAX_FAILED):
        state = states.reject(state, f"{number:064x}", str(number), "x" * 10_000)
    assert len(state.failed) == MAX_FAILED
    assert {len(reason) for reason in state.failed.values()} == {MAX_REASON_CHARS}
    assert set(state.names) == {*state.failed, A}


def test_what_failed_last_comes_last_in_the_file_too() -> None:
    state = states.install(RuntimeState(), LINK, A, "1")
    for digest in (C, B):
        state = states.reject(state, digest, "x", "unhealthy")
    assert list(states.decode(states.encode(state)).failed) == [C, B]


def test_the_confirmed_version_gives_way_once_to_the_one_that_it_replaced() -> None:
    state = states.confirm(on_trial(), B)
    assert states.give_way(state, A, "not that one") == state
    gone = states.give_way(state, B, "it crashed")
    assert (gone.current, gone.previous, dict(gone.failed)) == (A, "", {B: "it crashed"})
    assert states.give_way(gone, A, "again") == gone
    assert states.give_way(on_trial(), A, "a trial has its own end") == on_trial()


def test_a_later_versions_fields_are_left_aside() -> None:
    found = json.loads(states.encode(on_trial())) | {"colour": "green"}
    assert states.decode(json.dumps(found).encode()) == on_trial()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"current": "x"}',
        b'{"current": 1}',
        b'{"format": -1}',
        b'{"format": true}',
        b'{"format": 1e400}',
        b'{"failed": []}',
        b'{"failed": {"..": "x"}}',
        b'{"link": 5}',
        b" " * (256 * 1024 + 1),
        json.dumps({"trial": A}).encode(),
        json.dumps({"current": A, "trial": A}).encode(),
        json.dumps({"current": A, "failed": {A: "x"}}).encode(),
    ],
)
def test_a_damaged_file_is_corrupt_and_says_the_next_step(damage: bytes) -> None:
    with pytest.raises(Corrupt, match="damaged") as caught:
        states.decode(damage)
    assert "bootstrapper" in caught.value.hint


@given(st.binary(max_size=300))
def test_any_bytes_are_a_state_or_corrupt(data: bytes) -> None:
    with contextlib.suppress(Corrupt):
        states.decode(data)


class AnyOrder(RuleBasedStateMachine):
    """Everything that can happen, in any order, beside a plain record of what each version went through."""

    def __init__(self) -> None:
        super().__init__()
        self.state = RuntimeState()
        self.confirmed: list[str] = []  # in order, the last one current
        self.failed: set[str] = set()

    digests = st.sampled_from(DIGESTS)

    @rule(digest=digests)
    def install(self, digest: str) -> None:
        if not self.state.current and digest not in self.failed:
            self.confirmed = [digest]
            self.state = states.install(self.state, LINK, digest, "v")

    @rule(digest=digests)
    def begin(self, digest: str) -> None:
        before = self.state
        try:
            self.state = states.begin(before, digest, "v")
        except UserError:
            assert digest in self.failed or before.trial not in ("", digest)
        assert self.state.current == before.current

    @precondition(lambda self: self.state.trial)
    @rule()
    def confirm(self) -> None:
        self.confirmed.append(self.state.trial)
        self.state = states.confirm(self.state, self.state.trial)

    @rule()
    def crash(self) -> None:
        before = self.state
        self.state = states.fail(before, "crash")
        if before.trial:
            self.failed.add(before.trial)
        assert self.state.current == before.current, "more than one step back without the person"

    @rule(digest=digests)
    def unhealthy(self, digest: str) -> None:
        if self.state.current and digest not in (self.state.current, self.state.trial):
            self.failed.add(digest)
            self.state = states.reject(self.state, digest, "v", "unhealthy")

    @rule()
    def step_back(self) -> None:
        before = self.state
        try:
            self.state = states.roll_back(before, "by hand")
        except UserError:
            return
        if before.trial:
            self.failed.add(before.trial)
        else:
            self.failed.add(before.current)
            self.confirmed.append(self.state.current)

    @rule()
    def crash_for_good(self) -> None:
        before = self.state
        self.state = states.give_way(before, before.current, "crash")
        if self.state != before:
            assert self.state.current == before.previous
            assert not self.state.previous
            self.failed.add(before.current)
            self.confirmed.append(self.state.current)

    @invariant()
    def what_runs_has_not_failed(self) -> None:
        assert self.state.runs not in self.failed
        assert self.state.previous not in self.failed
        assert self.failed == set(self.state.failed)

    @invariant()
    def current_is_what_was_confirmed_last(self) -> None:
        assert self.state.current == (self.confirmed[-1] if self.confirmed else "")

    @invariant()
    def it_can_be_written_and_read(self) -> None:
        assert states.decode(states.encode(self.state)) == self.state


TestAnyOrder = AnyOrder.TestCase

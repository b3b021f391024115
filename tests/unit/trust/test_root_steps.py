"""A set whose roots do not fit into one answer arrives whole, in steps; none is too large for an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pearrt.errors import LimitExceeded, ProtocolViolation, UserError
from pearrt.peer.messages import MAX_METADATA_BYTES, Metadata, encode
from pearrt.publish.servable import check_servable
from pearrt.trust.delegation import MAX_CHANNELS
from pearrt.trust.envelope import MAX_BYTES
from pearrt.trust.log import MAX_LOG_BYTES
from pearrt.trust.metadata_set import MAX_ANSWER_BYTES, MAX_CHANNEL_BYTES, MAX_CURRENT_BYTES, MetadataSet
from pearrt.trust.root_steps import MAX_ANSWERS, RootSteps, answers_needed

SMALL = MetadataSet((b"root 1",), b"t", b"s", b"T")


def roots(count: int, size: int) -> tuple[bytes, ...]:
    return tuple(number.to_bytes(4) * (size // 4) for number in range(1, count + 1))


def largest_current() -> MetadataSet:
    """As much beside the roots as a set may hold."""
    targets = bytes(MAX_BYTES["targets"])
    padded = replace(SMALL, targets=targets, logs={"targets": bytes(MAX_LOG_BYTES)})
    channel, count = bytes(MAX_CHANNEL_BYTES), 0
    while padded.current_bytes + MAX_CHANNEL_BYTES + 32 < MAX_CURRENT_BYTES:
        padded = replace(padded, delegated={**padded.delegated, f"c{count}": channel})
        count += 1
    room = MAX_CURRENT_BYTES - padded.current_bytes
    return replace(padded, snapshot=bytes(min(room - 8, MAX_BYTES["snapshot"])))


def fetched(source: MetadataSet, first_root: int = 1) -> tuple[MetadataSet, int]:
    steps, count = RootSteps(first_root), 0
    while True:
        count += 1
        answer = source.since(steps.wanted).encode()
        assert len(answer) <= MAX_ANSWER_BYTES
        if (whole := steps.take(answer)) is not None:
            return MetadataSet.decode(whole), count


def test_an_ordinary_set_is_one_answer_and_not_looked_into() -> None:
    assert fetched(SMALL) == (SMALL, 1)
    assert RootSteps(1).take(b"no metadata") == b"no metadata"


@pytest.mark.parametrize("first_root", [1, 2, 41, 120])
def test_roots_of_four_mebibytes_arrive_whole(first_root: int) -> None:
    metadata = replace(SMALL, roots=roots(120, 35_000))
    whole, count = fetched(metadata, first_root)
    assert whole == replace(metadata, roots=metadata.roots[first_root - 1 :])
    assert count <= answers_needed(metadata) == 5


def test_one_root_fits_beside_the_most_that_a_set_may_hold() -> None:
    metadata = replace(largest_current(), roots=roots(3, MAX_BYTES["root"]))
    assert MetadataSet.decode(metadata.encode()) == metadata
    whole, count = fetched(metadata)
    assert (whole, count) == (metadata, 4)
    check_servable(metadata)
    encode(Metadata(1, metadata.since(1).encode()))


def test_the_most_that_every_part_may_be_is_too_much_together_and_refused_on_both_sides() -> None:
    metadata = MetadataSet(
        (b"root 1",),
        bytes(MAX_BYTES["timestamp"]),
        bytes(MAX_BYTES["snapshot"]),
        bytes(MAX_BYTES["targets"]),
        {f"c{number}": bytes(MAX_CHANNEL_BYTES) for number in range(MAX_CHANNELS)},
        {"targets": bytes(MAX_LOG_BYTES)},
    )
    with pytest.raises(LimitExceeded, match="beside its roots"):
        MetadataSet.decode(metadata.encode())
    with pytest.raises(UserError, match="that peers can be given"):
        check_servable(metadata)


def test_more_roots_than_anyone_asks_for_are_not_published() -> None:
    metadata = replace(largest_current(), roots=roots(MAX_ANSWERS + 1, MAX_BYTES["root"]))
    with pytest.raises(UserError, match="roots would take"):
        check_servable(metadata)
    with pytest.raises(LimitExceeded):
        fetched(metadata)


def test_a_source_that_never_ends_is_left() -> None:
    steps = RootSteps(1)
    answers = [
        replace(SMALL, roots=tuple(bytes([number, at]) * 25_000 for at in range(20))).encode()
        for number in range(MAX_ANSWERS)
    ]
    assert [steps.take(answer) for answer in answers[:-1]] == [None] * (MAX_ANSWERS - 1)
    with pytest.raises(LimitExceeded):
        steps.take(answers[-1])


def test_a_plain_web_server_that_gives_the_same_again_has_given_all() -> None:
    metadata = replace(SMALL, roots=roots(20, 50_000))
    steps = RootSteps(1)
    assert steps.take(metadata.encode()) is None
    assert steps.take(metadata.encode()) == metadata.encode()


def test_long_junk_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        RootSteps(1).take(bytes(MAX_ANSWER_BYTES))


def test_a_message_and_an_answer_hold_the_same() -> None:
    assert MAX_METADATA_BYTES == MAX_ANSWER_BYTES

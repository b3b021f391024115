"""Requests and answers come by mail and on found sticks: garbled, swapped, replayed, too large, lying."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from pearrt.codec import bencode, zbase32
from pearrt.crypto.hashes import sha256
from pearrt.errors import LimitExceeded, PearrtError, ProtocolViolation, RemoteError, TrustError, UserError
from pearrt.publish.answer import MARK, MAX_ANSWERS, Answer, find_answers
from pearrt.publish.ceremony import collect
from pearrt.publish.desk import Desk, read_bounded
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.mail_line import MAX_TEXT_BYTES
from pearrt.publish.publication import Publication
from pearrt.publish.request import MAGIC, MAX_REQUEST_BYTES, Request
from tests.unit.publish.ceremony import answered, release_request, signed_request
from tests.unit.publish.conftest import NOW, Team, draft_of, seed_of, signed


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    return Team(Heartbeat(seed_of("heartbeat"))).publication(tmp_path / "publishing")


@pytest.fixture
def request_(publication: Publication) -> Request:
    return release_request(publication)


def sealed(body: bytes) -> bytes:
    """A file whose checksum is right, whatever is in it."""
    return MAGIC + sha256(body).hex().encode() + b"\n" + body


def fields(request: Request) -> dict[str, object]:
    value = bencode.decode(request.encode()[len(MAGIC) + 65 :])
    return {key.decode(): item for key, item in value.items()}  # type: ignore[union-attr]


def forged(request: Request, **changed: object) -> bytes:
    return sealed(bencode.encode({**fields(request), **changed}))


# -- requests


def test_a_request_comes_back_as_it_was_sent(request_: Request) -> None:
    signed_one = signed_request(request_, "ada", "bob")
    assert Request.decode(request_.encode()).drafts == request_.drafts
    again = Request.decode(signed_one.encode())
    assert (again.digest, again.answers) == (request_.digest, signed_one.answers)
    assert len(request_.encode()) < 8000


@pytest.mark.parametrize("data", [b"", b"pearrt", MAGIC, b"\0" * 100, MAGIC + b"0" * 64 + b"\nde"])
def test_other_bytes_are_no_request(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Request.decode(data)


def test_a_request_that_was_cut_short_or_changed_on_its_way_says_so(request_: Request) -> None:
    data = request_.encode()
    for broken in (data[:-1], data + b"\n", data[:200] + bytes([data[200] ^ 1]) + data[201:]):
        with pytest.raises(ProtocolViolation, match="cut short or changed"):
            Request.decode(broken)


def test_an_oversized_request_is_not_even_read(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded):
        Request.decode(MAGIC + bytes(MAX_REQUEST_BYTES))
    large = tmp_path / "large.request"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="too large"):
        read_bounded(large, MAX_REQUEST_BYTES)


def test_flipped_truncated_and_random_bodies_raise_nothing_but_our_errors(request_: Request) -> None:
    chosen, body = random.Random(4), request_.encode()[len(MAGIC) + 65 :]
    for _ in range(150):
        broken = bytearray(body[: chosen.randrange(len(body))] if chosen.random() < 0.3 else body)
        for _ in range(chosen.randrange(1, 4)):
            if broken:
                broken[chosen.randrange(len(broken))] = chosen.randrange(256)
        try:
            found = Request.decode(sealed(bytes(broken)))
        except (RemoteError, TrustError):
            continue
        assert found.app_key == request_.app_key, "what still reads is signed by nobody but the same signers"


def test_deep_nesting_and_many_items_are_refused() -> None:
    for body in (b"l" * 100_000 + b"e" * 100_000, b"l" + b"i1e" * 100_000 + b"e"):
        with pytest.raises(RemoteError):
            Request.decode(sealed(body))


def test_a_request_for_another_app_is_refused(request_: Request, tmp_path: Path) -> None:
    other = Team(Heartbeat(seed_of("heartbeat"))).new_app(app_id=b"\1" * 16)
    with pytest.raises(TrustError):
        Request.decode(forged(request_, app=other.app_key))
    with pytest.raises(TrustError):
        Request.decode(forged(Request.of_new_app(other.root, other.targets), app=request_.app_key))


def test_another_apps_draft_under_this_apps_metadata_is_refused(
    request_: Request, publication: Publication
) -> None:
    assert request_.base is not None
    raw = request_.drafts[0].payload.replace(b"0" * 32, b"1" * 32)
    with pytest.raises(TrustError, match="another app"):
        Request.decode(forged(request_, drafts=[["targets", raw]]))


@pytest.mark.parametrize("version", [1, 3, 2**53 - 1])
def test_a_draft_that_skips_or_repeats_a_version_is_refused(request_: Request, version: int) -> None:
    raw = request_.drafts[0].payload.replace(b'"version":2,', b'"version":%d,' % version)
    raw = raw.replace(b'"version":2}', b'"version":%d}' % version)
    assert raw != request_.drafts[0].payload
    with pytest.raises(TrustError, match="not due"):
        Request.decode(forged(request_, drafts=[["targets", raw]]))


def test_bytes_that_two_readers_could_read_differently_are_not_signed(request_: Request) -> None:
    raw = request_.drafts[0].payload
    for other in (b" " + raw, raw.replace(b'"_type"', b'"_type" '), raw.replace(b"{", b'{"version":9,', 1)):
        with pytest.raises(ProtocolViolation):
            Request.decode(forged(request_, drafts=[["targets", other]]))


@pytest.mark.parametrize(
    "roles",
    [
        [],
        ["root"],
        ["timestamp"],
        ["snapshot"],
        ["targets", "root"],
        ["targets", "targets"],
        ["beta"],
        ["../x"],
    ],
)
def test_nobody_is_asked_to_sign_other_roles(request_: Request, roles: list[str]) -> None:
    """A heartbeat above all: signers must never be led to sign a timestamp."""
    raw = request_.drafts[0].payload
    with pytest.raises(RemoteError):
        Request.decode(forged(request_, drafts=[[role, raw] for role in roles]))


def test_metadata_that_does_not_verify_makes_no_base(request_: Request, publication: Publication) -> None:
    metadata = publication.metadata
    for broken in (
        replace(metadata, targets=metadata.targets.replace(b'"version":1', b'"version":9')),
        replace(metadata, roots=()),
        replace(metadata, timestamp=metadata.snapshot),
    ):
        with pytest.raises(PearrtError) as caught:
            Request.decode(forged(request_, metadata=broken.encode()))
        assert isinstance(caught.value, TrustError | RemoteError)


def test_a_request_may_not_claim_that_the_app_is_new(request_: Request) -> None:
    with pytest.raises(ProtocolViolation):
        Request.decode(forged(request_, metadata=b""))


def test_answers_in_a_file_are_checked_like_any_others(request_: Request, publication: Publication) -> None:
    (theirs,) = answered(release_request(publication, "6.6.6"), "bob")
    lying = Request.decode(forged(request_, answers=[theirs.encode()]))
    with pytest.raises(UserError, match="another request"):
        collect(lying.with_answers(()), lying.answers)
    with pytest.raises(LimitExceeded):
        Request.decode(forged(request_, answers=[theirs.encode()] * (MAX_ANSWERS + 1)))


# -- answers


def test_an_answer_survives_what_mail_programs_do(request_: Request) -> None:
    (line,) = map(str, answered(request_, "ada"))
    wrapped = "\r\n".join(line[at : at + 72] for at in range(0, len(line), 72))
    quoted = "\n".join(f"> > {part}" for part in wrapped.splitlines())
    soft = "=\n".join(line[at : at + 75] for at in range(0, len(line), 75))
    for text in (line, wrapped, quoted, soft, line.upper(), f"Hello,\n{quoted}\n\nBye, Ada", f"﻿{line}"):
        (found,) = find_answers(text.encode())
        assert str(found) == line


def test_several_answers_in_one_mail_are_all_found(request_: Request) -> None:
    answers = answered(request_, "ada", "bob", "cyd")
    assert find_answers("\n\nand\n".join(map(str, answers)).encode()) == answers


@pytest.mark.parametrize("cut", [0, 3, 20, 100, 214])
def test_an_answer_that_was_cut_short_is_refused(request_: Request, cut: int) -> None:
    (line,) = map(str, answered(request_, "ada"))
    with pytest.raises(ProtocolViolation):
        find_answers(line[: len(MARK) + cut].encode())


def test_every_changed_letter_is_noticed(request_: Request) -> None:
    (line,) = map(str, answered(request_, "ada"))
    letters = line[len(MARK) :]
    for at in range(len(letters)):
        other = "y" if letters[at] != "y" else "b"
        with pytest.raises(ProtocolViolation):
            find_answers((MARK + letters[:at] + other + letters[at + 1 :]).encode())


@pytest.mark.parametrize("text", [b"", b"Hello", b"\xff\xfe\0", MARK.encode(), MARK.encode() * 1000])
def test_a_text_without_an_answer_says_so(text: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        find_answers(text)


def test_too_much_text_and_too_many_answers_are_refused(request_: Request) -> None:
    (answer,) = answered(request_, "ada")
    with pytest.raises(LimitExceeded):
        find_answers(b" " * (MAX_TEXT_BYTES + 1))
    with pytest.raises(LimitExceeded):
        find_answers("\n".join([str(answer)] * (MAX_ANSWERS + 1)).encode())


def test_random_answers_raise_nothing_but_our_errors(request_: Request) -> None:
    chosen = random.Random(5)
    for _ in range(200):
        text = MARK + zbase32.encode(chosen.randbytes(chosen.choice([1, 66, 134, 198, 400])))
        with pytest.raises(ProtocolViolation):
            find_answers(text.encode())


def test_an_old_answer_is_no_answer_to_the_next_request(publication: Publication, tmp_path: Path) -> None:
    """Replayed: the signatures of a request that was dropped do not count for its successor."""
    old = answered(release_request(publication, "1.0"), "ada", "bob", "cyd")
    with pytest.raises(UserError, match="another request"):
        collect(release_request(publication, "1.0", now=NOW + 1), old)


def test_an_answer_to_another_apps_request_is_refused(request_: Request, tmp_path: Path) -> None:
    other = Team(Heartbeat(seed_of("heartbeat"))).new_app(app_id=b"\1" * 16)
    theirs = answered(Request.of_new_app(other.root, other.targets), "ada")
    with pytest.raises(UserError, match="another request"):
        collect(request_, theirs)


def test_an_answer_with_bits_for_drafts_that_do_not_exist_is_refused(request_: Request) -> None:
    (ada,) = answered(request_, "ada")
    value = dict(ada.signatures)[0]
    more = Answer.decode(Answer(ada.request, ada.public, ((0, value), (3, value))).encode())
    with pytest.raises(TrustError):
        collect(request_, [more])


def test_a_review_record_for_other_bytes_is_none(publication: Publication, tmp_path: Path) -> None:
    desk = Desk.of(tmp_path, publication.app_key)
    mine, swapped = release_request(publication), release_request(publication, notes="and a little more")
    desk.reviewed(mine, "some words", NOW)
    assert desk.review_of(swapped) is None


def test_signatures_of_a_ceremony_are_ordinary_ones(publication: Publication) -> None:
    """What the ceremony collects is what `Publication.commit` takes: there is one way to sign."""
    request = release_request(publication)
    (ada,) = answered(request, "ada")
    (plain,) = signed(draft_of(publication.trusted, "1.0"), "ada")
    assert dict(ada.signatures)[0] == plain.value

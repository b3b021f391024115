"""Release rooms, the pure half: links, sealed requests, answers as items of the DHT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.app.freshness import salt_of
from pearrt.codec import bencode
from pearrt.crypto import ed25519
from pearrt.crypto.hashes import sha256, tagged
from pearrt.dht.items import MAX_SALT_BYTES, signed_text
from pearrt.errors import BadLink, BadSignature, DigestMismatch, NoSuchApp, PearrtError, UserError
from pearrt.link import HostPort, Link, topic_of
from pearrt.publish.ceremony import tally
from pearrt.publish.dsse import pae
from pearrt.publish.publication import Publication
from pearrt.publish.request import Request
from pearrt.publish.room import MAX_POST_BYTES, Room, awaited, gather, post, read_post, seal
from pearrt.publish.signers import SeedKey, answer
from pearrt.trust.envelope import Envelope
from tests.unit.publish.ceremony import answered, release_request, signed_request
from tests.unit.publish.conftest import NOW, Team, seed_of

SEQ = int(NOW)
SECRET = b"0123456789abcdef"


@pytest.fixture
def request_(publication: Publication) -> Request:
    return release_request(publication)


@pytest.fixture
def room(request_: Request) -> Room:
    return Room.of(request_, SECRET)


def value_of(request: Request, name: str) -> bytes:
    key = SeedKey(seed_of(name))
    return post(Room.of(request, SECRET), answer(request, key), key, SEQ).value


def public_of(name: str) -> bytes:
    return SeedKey(seed_of(name)).public


# -- links


def test_a_room_is_found_again_by_its_link(room: Room) -> None:
    link = Link(room.app_key, nodes=(HostPort("192.0.2.7", 6881),), fragment=room.fragment)
    assert Room.parse(Link.parse(str(link))) == room


@pytest.mark.parametrize("cut", [1, 2, 50, 128])
def test_a_link_that_was_cut_short_says_so(room: Room, cut: int) -> None:
    with pytest.raises(BadLink, match="cut short"):
        Room.parse(Link(room.app_key, fragment=room.fragment[:-cut]))


def test_a_link_to_the_app_or_with_a_letter_wrong_leads_to_no_room(room: Room) -> None:
    for fragment in ("", "chapter-2"):
        with pytest.raises(BadLink, match="leads to no release room"):
            Room.parse(Link(room.app_key, fragment=fragment))
    with pytest.raises(BadLink, match="misspelt"):
        Room.parse(Link(room.app_key, fragment=room.fragment.replace("=", "=0")[:-1]))


# -- sealed requests


def test_a_sealed_request_opens_to_the_same_request(
    request_: Request, room: Room, publication: Publication
) -> None:
    opened = room.unseal(seal(request_, SECRET), publication.trusted)
    assert opened == request_.with_answers(())
    assert opened.digest == room.digest
    assert Room.of(opened, SECRET) == room


def test_a_later_heartbeat_changes_nothing_in_the_room(room: Room, publication: Publication) -> None:
    block = seal(release_request(publication), SECRET)
    later = publication.refresh(NOW + 3600)
    assert room.unseal(block, later.trusted).digest == room.digest


def test_answers_that_were_collected_do_not_change_the_room(request_: Request, room: Room) -> None:
    assert Room.of(signed_request(request_, "ada"), SECRET) == room


def test_a_new_app_needs_nothing_but_its_block(team: Team) -> None:
    new = team.new_app()
    request = Request.of_new_app(new.root, new.targets)
    assert Room.of(request, SECRET).unseal(seal(request, SECRET), None) == request


def test_without_the_app_a_release_is_not_opened(request_: Request, room: Room) -> None:
    with pytest.raises(NoSuchApp):
        room.unseal(seal(request_, SECRET), None)


def test_the_block_shows_nothing_to_who_lacks_the_link(request_: Request, room: Room) -> None:
    block = seal(request_, SECRET)
    assert room.block == sha256(block)
    for plain in (room.digest, room.app_key, request_.drafts[0].payload[:32], b"1.0"):
        assert plain not in block


def test_who_guesses_a_whole_request_cannot_confirm_it(request_: Request, room: Room) -> None:
    """Peers hear the block's id, and may know all that a request says but for the room's secret."""
    guessed = Room.of(request_, bytes(16))
    assert guessed.digest == room.digest
    assert guessed.block != room.block
    assert guessed.salt != room.salt
    assert "secret" not in repr(room)


def test_a_link_to_another_block_or_another_digest_opens_nothing(
    request_: Request, room: Room, publication: Publication
) -> None:
    other = release_request(publication, "6.6.6")
    for wrong, block in (
        (room, seal(other, SECRET)),  # a peer sends something else
        (
            replace(room, block=sha256(seal(other, SECRET))),
            seal(other, SECRET),
        ),  # the link's digest is of another request
        (replace(room, digest=other.digest), seal(request_, SECRET)),
        (replace(room, secret=bytes(16)), seal(request_, SECRET)),
        (replace(room, block=sha256(b"short")), b"short"),
        (replace(room, app_key=bytes(32)), seal(request_, SECRET)),
    ):
        with pytest.raises(PearrtError):
            wrong.unseal(block, publication.trusted)


def test_whoever_knows_the_digest_cannot_seal_another_request_for_it(
    request_: Request, room: Room, publication: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is the digest's, so a link's writer can seal anything; it has to be what the digest is of."""
    other = release_request(publication, "6.6.6")
    monkeypatch.setattr("pearrt.publish.room._key", lambda *_: b"k" * 32)
    block = seal(other, SECRET)
    with pytest.raises(DigestMismatch, match="another request"):
        replace(room, block=sha256(block)).unseal(block, publication.trusted)


def test_a_request_too_large_for_a_block_says_to_send_the_file(publication: Publication) -> None:
    request = release_request(publication, notes="x" * 4000)
    big = replace(request, drafts=(replace(request.drafts[0], payload=bytes(1 << 18)),))
    with pytest.raises(UserError) as caught:
        seal(big, SECRET)
    assert "Send the file" in caught.value.hint


# -- answers


def test_the_derivations_are_those_of_the_protocols_page() -> None:
    page = (Path(__file__).parents[3] / "docs/protocol/ceremony.md").read_text()
    room = Room(bytes(32), bytes(32), bytes(16), bytes(32))
    assert f"    {room.salt.hex()}\n" in page
    assert f"    {tagged('pearrt-room-key-v1', room.digest + room.secret).hex()}\n" in page


def test_the_salt_fits_bep_44_is_one_way_and_of_no_other_use(room: Room) -> None:
    assert len(room.salt) == 32 <= MAX_SALT_BYTES
    assert room.digest not in room.salt
    assert room.salt[:20] != salt_of(topic_of(room.app_key))
    assert replace(room, digest=bytes(32)).salt != room.salt
    assert replace(room, secret=bytes(16)).salt != room.salt


def test_what_is_signed_for_an_item_is_no_metadata_and_no_attestation(request_: Request, room: Room) -> None:
    seen: list[bytes] = []

    class Noting(SeedKey):
        def sign(self, payload: bytes) -> bytes:
            seen.append(payload)
            return SeedKey(self.seed).sign(payload)

    key = Noting(seed_of("ada"))
    item = post(room, answer(request_, SeedKey(key.seed)), key, SEQ)
    assert seen == [signed_text(room.salt, SEQ, item.encoded)]
    assert seen[0].startswith(b"4:salt32:" + room.salt)
    assert pae("t", b"x").startswith(b"DSSEv1 ")
    assert request_.drafts[0].payload.startswith(b"{")
    with pytest.raises(PearrtError):
        Envelope.parse("targets", seen[0])
    assert item.verifies()
    assert not ed25519.verify(key.public, request_.drafts[0].payload, item.signature)


def test_an_item_names_neither_the_request_nor_the_app(request_: Request, room: Room) -> None:
    value = value_of(request_, "ada")
    assert len(value) == 2 + 64
    assert room.digest not in value
    assert room.app_key not in value


def test_an_answer_is_read_as_it_was_posted(request_: Request, room: Room) -> None:
    (given_,) = answered(request_, "ada")
    assert read_post(room, given_.public, value_of(request_, "ada")) == given_


def test_an_answer_to_another_request_is_not_posted_here(room: Room, publication: Publication) -> None:
    key = SeedKey(seed_of("ada"))
    other = release_request(publication, "6.6.6")
    with pytest.raises(UserError, match="another request"):
        post(room, answer(other, key), key, SEQ)
    with pytest.raises(UserError, match="another key"):
        post(Room.of(other, SECRET), answer(other, key), SeedKey(seed_of("bob")), SEQ)


def test_a_key_that_signs_falsely_posts_nothing(request_: Request, room: Room) -> None:
    class Liar(SeedKey):
        def sign(self, payload: bytes) -> bytes:
            return bytes(64)

    with pytest.raises(BadSignature):
        post(room, answer(request_, SeedKey(seed_of("ada"))), Liar(seed_of("ada")), SEQ)


@given(st.binary(max_size=MAX_POST_BYTES + 8))
def test_any_bytes_under_a_signers_key_are_an_answer_or_refused(value: bytes) -> None:
    room = Room(bytes(32), bytes(32), SECRET, bytes(32))
    try:
        read = read_post(room, bytes(32), value)
    except PearrtError:
        return
    assert len(value) == 2 + 64 * len(read.signatures)


def test_answers_are_gathered_from_strangers_words(request_: Request, publication: Publication) -> None:
    """Two good ones; garbage, another's answer and an old request's are refused by name; nobody counts twice,
    and who was not asked is not heard."""
    older = release_request(publication, "0.9")
    posts = [
        (public_of("ada"), value_of(request_, "ada")),
        (public_of("ada"), b"garbage"),  # a second one of ada's
        (public_of("bob"), b"garbage"),
        (public_of("cyd"), value_of(request_, "ada")),
        (public_of("dan"), value_of(older, "dan")),
        (public_of("mallory"), value_of(request_, "ada")),
        (public_of("eve"), value_of(request_, "eve")),
    ]
    found = gather(Room.of(request_, SECRET), request_, posts)
    assert found.came == ("ada", "eve")
    assert [name for name, _ in found.refused] == ["bob", "cyd", "dan"]
    assert "is no answer" in found.refused[0][1]
    assert "by cyd is false" in found.refused[1][1]
    assert "by dan is false" in found.refused[2][1]
    assert str(tally(found.request)) == "2 of 3, waiting for bob, cyd or dan"
    assert found.request == signed_request(request_, "eve", "ada")


def test_who_answered_by_hand_is_not_looked_for(request_: Request) -> None:
    held = signed_request(request_, "ada")
    assert [signer.name for signer in awaited(held)] == ["bob", "cyd", "dan", "eve"]
    assert gather(Room.of(held, SECRET), held, [(public_of("ada"), b"garbage")]).refused == ()


def test_values_of_other_software_are_refused_without_a_fuss(request_: Request) -> None:
    odd = bencode.encode([1, 2])
    assert gather(Room.of(request_, SECRET), request_, [(public_of("ada"), odd)]).refused[0][0] == "ada"

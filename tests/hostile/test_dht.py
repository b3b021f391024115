"""Hostile nodes: spoofing, replay, rollback, floods, and many nodes that are one."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from pearrt.codec import bencode
from pearrt.crypto import ed25519
from pearrt.dht.contact import Address, Contact, Family, prefix_of
from pearrt.dht.items import MutableItem, sign_item
from pearrt.dht.krpc import (
    encode_query,
    encode_response,
    parse,
)
from pearrt.dht.messages import (
    AnnouncePeer,
    ErrorReply,
    FindNode,
    Get,
    GetPeers,
    Message,
    Ping,
    Put,
    Query,
    Request,
    Response,
)
from pearrt.dht.node import DhtNode
from pearrt.dht.operations import Announce, FindMutable, FindNodes, FindPeers
from pearrt.dht.settings import DhtSettings
from tests.support.sim import SimLoop, SimNet, run
from tests.support.sim_dht import SimSwarm

SEED = b"s" * 32
KEY = ed25519.public_key(SEED)
ASKER: Address = ("84.1.2.3", 6881)
OTHER: Address = ("84.9.9.9", 6881)
TARGET = b"t" * 20


class Server:
    """A node with a way to query it from any address."""

    def __init__(self) -> None:
        self.node = DhtNode(Family.V4, rng=random.Random(3))
        self.now = 1000.0

    def ask(self, request: Request, source: Address = ASKER, sender: bytes = b"q" * 20) -> Message | None:
        self.node.receive(encode_query(Query(b"tran", sender, request, read_only=True)), source, self.now)
        replies = [parse(data) for data, address in self.node.take_datagrams() if address == source]
        return replies[0] if replies else None

    def token(self, request: Request, source: Address = ASKER) -> bytes:
        reply = self.ask(request, source)
        assert isinstance(reply, Response)
        return reply.token

    def put(self, item: MutableItem, *, cas: int | None = None) -> int:
        """The error code, 0 for success."""
        reply = self.ask(Put(item, self.token(Get(item.target)), cas))
        return reply.code if isinstance(reply, ErrorReply) else 0


@pytest.fixture
def server() -> Server:
    return Server()


def item(value: bytes, seq: int, salt: bytes = b"") -> MutableItem:
    return sign_item(SEED, value, salt=salt, seq=seq)


# Stored items


def test_seq_rollback_is_refused_with_302(server: Server) -> None:
    assert server.put(item(b"new", 5)) == 0
    assert server.put(item(b"old", 4)) == 302
    reply = server.ask(Get(item(b"", 0).target))
    assert isinstance(reply, Response)
    assert isinstance(reply.item, MutableItem)
    assert (reply.item.seq, reply.item.value) == (5, b"new")


def test_equal_seq_with_another_value_is_refused_with_302(server: Server) -> None:
    assert server.put(item(b"one", 5)) == 0
    assert server.put(item(b"two", 5)) == 302
    assert server.put(item(b"one", 5)) == 0


def test_cas_mismatch_is_refused_with_301(server: Server) -> None:
    assert server.put(item(b"one", 5)) == 0
    assert server.put(item(b"two", 6), cas=4) == 301
    assert server.put(item(b"two", 6), cas=5) == 0


def test_salt_mismatch_is_no_valid_signature(server: Server) -> None:
    signed = item(b"value", 1, salt=b"mine")
    moved = MutableItem(signed.public_key, b"other", signed.seq, signed.encoded, signed.signature)
    assert server.put(moved) == 206
    assert server.put(signed) == 0
    operation = FindMutable(KEY, b"other")
    operation.heard(Contact(b"x" * 20, OTHER), Response(b"tran", b"x" * 20, item=_as_sent(signed)))
    assert operation.item is None


def _as_sent(stored: MutableItem) -> MutableItem:
    """A get response does not carry the salt."""
    return MutableItem(stored.public_key, b"", stored.seq, stored.encoded, stored.signature)


def test_a_forged_signature_is_refused_with_206_and_overwrites_nothing(server: Server) -> None:
    assert server.put(item(b"real", 1)) == 0
    forged = MutableItem(KEY, b"", 2, b"6:forged", b"\0" * 64)
    assert server.put(forged) == 206
    assert server.put(item(b"real", 2)) == 0


@pytest.mark.parametrize(("size", "code"), [(996, 0), (997, 205)])
def test_a_value_of_more_than_1000_bytes_is_refused_with_205(server: Server, size: int, code: int) -> None:
    encoded = bencode.encode(b"v" * size)
    signed = MutableItem(KEY, b"", 1, encoded, ed25519.sign(SEED, b"3:seqi1e1:v" + encoded))
    assert server.put(signed) == code


def test_a_salt_of_more_than_64_bytes_is_refused_with_207(server: Server) -> None:
    signed = MutableItem(KEY, b"s" * 65, 1, b"1:v", b"\0" * 64)
    assert server.put(signed) == 207


@pytest.mark.parametrize("seq", [-1, 2**63])
def test_a_seq_outside_63_bits_is_refused(server: Server, seq: int) -> None:
    assert server.put(MutableItem(KEY, b"", seq, b"1:v", b"\0" * 64)) == 203


def test_a_lookup_believes_the_newest_valid_seq_and_no_forged_one() -> None:
    operation = FindMutable(KEY, b"")
    for answer in (
        item(b"old", 1),
        item(b"new", 3),
        MutableItem(KEY, b"", 9, b"6:forged", b"\1" * 64),
        item(b"mid", 2),
    ):
        operation.heard(Contact(b"x" * 20, OTHER), Response(b"tran", b"x" * 20, item=answer))
    assert operation.item is not None
    assert operation.item.value == b"new"


def test_an_item_of_another_key_is_not_taken_for_ours() -> None:
    operation = FindMutable(KEY, b"")
    operation.heard(
        Contact(b"x" * 20, OTHER),
        Response(b"tran", b"x" * 20, item=sign_item(b"e" * 32, b"v", salt=b"", seq=9)),
    )
    assert operation.item is None


# Tokens


def test_a_token_replayed_from_another_address_is_refused(server: Server) -> None:
    token = server.token(GetPeers(TARGET))
    assert isinstance(server.ask(AnnouncePeer(TARGET, 1, token), OTHER), ErrorReply)
    assert isinstance(server.ask(AnnouncePeer(TARGET, 1, token)), Response)


def test_a_token_for_another_target_is_refused(server: Server) -> None:
    token = server.token(GetPeers(TARGET))
    assert isinstance(server.ask(AnnouncePeer(b"u" * 20, 1, token)), ErrorReply)


def test_a_token_replayed_after_two_rotations_is_refused(server: Server) -> None:
    token = server.token(GetPeers(TARGET))
    server.now += 299
    assert isinstance(server.ask(AnnouncePeer(TARGET, 1, token)), Response)
    server.now += 302
    assert isinstance(server.ask(AnnouncePeer(TARGET, 1, token)), ErrorReply)


def test_no_token_no_write(server: Server) -> None:
    assert isinstance(server.ask(AnnouncePeer(TARGET, 1, b"")), ErrorReply)
    assert isinstance(server.ask(Put(item(b"v", 1), b"12345678")), ErrorReply)
    assert len(server.node.server.peers) == len(server.node.server.items) == 0


# Spoofed sources


def _one_request(node: DhtNode, request: Message | None = None) -> tuple[Query, Address]:
    (data, address), *_ = node.take_datagrams()
    query = parse(data)
    assert isinstance(query, Query)
    return query, address


def test_an_answer_from_another_address_than_was_asked_is_ignored() -> None:
    node = DhtNode(Family.V4, rng=random.Random(5))
    node.add_bootstrap([ASKER], 0.0)
    query, _ = _one_request(node)
    answer = encode_response(Response(query.transaction, b"x" * 20, [Contact(b"y" * 20, OTHER)]))
    node.receive(answer, OTHER, 0.1)
    assert len(node.table) == 0
    assert node.take_datagrams() == []
    node.receive(answer, ASKER, 0.2)
    assert len(node.table) == 1


def test_an_answer_with_a_guessed_transaction_id_is_ignored() -> None:
    node = DhtNode(Family.V4, rng=random.Random(5))
    node.add_bootstrap([ASKER], 0.0)
    query, _ = _one_request(node)
    for guess in range(256):
        transaction = bytes([guess]) * 4
        assert transaction != query.transaction
        node.receive(encode_response(Response(transaction, b"x" * 20)), ASKER, 0.1)
    assert len(node.table) == 0


def test_an_answer_counts_only_once() -> None:
    node = DhtNode(Family.V4, rng=random.Random(5))
    operation = FindPeers(TARGET)
    node.add_bootstrap([ASKER], 0.0)
    node.take_datagrams()
    node.start(operation, 0.0)
    query, _ = _one_request(node)
    for port in (1, 2):
        node.receive(
            encode_response(Response(query.transaction, b"x" * 20, peers=[("84.1.1.1", port)])), ASKER, 0.1
        )
    assert operation.fresh == [("84.1.1.1", 1)]


def test_a_query_alone_makes_no_contact_so_a_forged_source_enters_no_table(server: Server) -> None:
    server.node.receive(encode_query(Query(b"tran", b"q" * 20, Ping())), ASKER, server.now)
    assert len(server.node.table) == 0
    sent = [parse(data) for data, _ in server.node.take_datagrams()]
    assert [type(message) for message in sent] == [
        Response,
        Query,
    ]  # the answer, and a ping to see who is there


# Floods


def test_a_flood_from_one_address_is_banned_and_others_are_still_served(server: Server) -> None:
    answered = 0
    for _ in range(1000):
        server.now += 0.001
        answered += server.ask(Ping()) is not None
    assert answered == DhtSettings().max_queries_per_window
    assert server.ask(Ping(), OTHER) is not None
    server.now += 299
    assert server.ask(Ping()) is None
    server.now += 2
    assert server.ask(Ping()) is not None


def test_amplification_towards_forged_addresses_is_bounded_per_second(server: Server) -> None:
    for i in range(8):
        server.node.table.answered(Contact(random.Random(i).randbytes(20), (f"85.{i}.1.1", 6881)), server.now)
    out = 0
    for i in range(5000):
        source = (f"{30 + i % 50}.{i // 200}.{i % 200}.7", 6881)
        server.node.receive(
            encode_query(Query(b"tran", b"q" * 20, GetPeers(TARGET), read_only=True)), source, server.now
        )
        out += sum(len(data) for data, _ in server.node.take_datagrams())
    assert out <= DhtSettings().max_reply_bytes_per_s


def test_memory_of_the_rate_limit_is_bounded_under_a_million_addresses(server: Server) -> None:
    for i in range(20_000):
        server.ask(Ping(), (f"{30 + i % 50}.{i // 256 % 256}.{i % 256}.{i % 250 + 1}", 6881))
    assert len(server.node._rate._counts) <= DhtSettings().max_tracked_addresses


def test_announced_topics_peers_and_items_are_bounded() -> None:
    settings = DhtSettings(max_topics=10, max_peers_per_topic=5, max_items=10)
    node = DhtNode(Family.V4, rng=random.Random(3), settings=settings)
    for i in range(50):
        node.server.peers.add(bytes([i]) * 20, ("84.1.1.1", i + 1), 0.0)
        node.server.peers.add(bytes([49]) * 20, ("84.1.1.2", i + 1), 0.0)
        node.server.items.put(sign_item(bytes([i]) * 32, b"v", salt=b"", seq=1), 0.0)
    assert len(node.server.peers) == 10
    assert len(node.server.peers.sample(bytes([49]) * 20, 100, 0.0, random.Random(1))) == 5
    assert len(node.server.items) == 10


# Sybils


def test_ten_thousand_ids_from_one_slash_24_get_two_places_per_bucket() -> None:
    node = DhtNode(Family.V4, rng=random.Random(3))
    rng = random.Random(4)
    for i in range(10_000):
        node.table.answered(Contact(rng.randbytes(20), (f"84.1.1.{i % 250 + 1}", 1024 + i)), 0.0)
    for _, size in node.table.buckets():
        assert size <= node.settings.per_prefix_in_bucket
    assert len(node.table) <= 40


def test_one_address_has_one_place_in_the_table_whatever_ids_it_claims() -> None:
    node = DhtNode(Family.V4, rng=random.Random(3))
    rng = random.Random(4)
    for port in range(1, 500):
        node.table.answered(Contact(rng.randbytes(20), ("84.1.1.1", port)), 0.0)
    assert len(node.table) == 1


def test_loopback_test_networks_are_exempt_from_prefix_limits() -> None:
    node = DhtNode(Family.V4, rng=random.Random(3))
    rng = random.Random(4)
    for port in range(1, 100):
        node.table.answered(Contact(rng.randbytes(20), ("127.0.0.1", port)), 0.0)
    assert len(node.table) >= 40


def _closest_ids(target: bytes, count: int) -> Iterable[bytes]:
    """Ids nearer to `target` than any honest node."""
    return (target[:-2] + i.to_bytes(2) for i in range(1, count + 1))


def test_ids_packed_around_a_target_from_one_network_get_few_of_the_stores() -> None:
    """The Sybil names 200 contacts in one /24, all nearer than honest nodes; honest ones still get most
    places.
    """
    node = DhtNode(Family.V4, rng=random.Random(3))
    for i in range(15):
        node.table.answered(Contact(random.Random(i).randbytes(20), (f"84.{i}.1.1", 6881)), 0.0)
    sybils = [Contact(each, (f"66.6.6.{i + 1}", 6881)) for i, each in enumerate(_closest_ids(TARGET, 200))]
    operation = Announce(TARGET, 4001)
    node.start(operation, 0.0)
    written: list[Address] = []
    for step in range(400):
        for data, address in node.take_datagrams():
            query = parse(data)
            assert isinstance(query, Query)
            if isinstance(query.request, AnnouncePeer):
                written.append(address)
            known = {entry.contact.address: entry.contact.node_id for entry in node.table}
            known |= {each.address: each.node_id for each in sybils}
            answer = Response(
                query.transaction, known[address], sybils[step % 150 : step % 150 + 40], token=b"tok"
            )
            node.receive(encode_response(answer), address, 0.1)
    assert operation.done
    assert (
        sum(prefix_of(host) == prefix_of("66.6.6.1") for host, _ in written)
        <= node.settings.per_prefix_in_lookup
    )
    assert len(written) >= 15


def test_a_node_that_answers_everything_with_itself_ends_the_lookup() -> None:
    node = DhtNode(Family.V4, rng=random.Random(3))
    node.add_bootstrap([ASKER], 0.0)
    node.take_datagrams()
    operation = FindNodes(TARGET)
    node.start(operation, 0.0)
    requests = 0
    for step in range(100):
        for data, address in node.take_datagrams():
            query = parse(data)
            assert isinstance(query, Query)
            requests += 1
            itself = [Contact(bytes([step, i]) * 10, ASKER) for i in range(8)]
            node.receive(encode_response(Response(query.transaction, b"x" * 20, itself)), address, 0.1)
    assert operation.done
    assert requests <= 5
    assert [contact.address for contact in operation.closest(20)] == [ASKER]


def test_a_node_that_invents_ever_closer_contacts_is_stopped_by_the_request_bound() -> None:
    node = DhtNode(Family.V4, rng=random.Random(3))
    node.add_bootstrap([ASKER], 0.0)
    node.take_datagrams()
    operation = FindNodes(TARGET)
    node.start(operation, 0.0)
    rng = random.Random(9)
    for step in range(5000):
        for data, address in node.take_datagrams():
            query = parse(data)
            assert isinstance(query, Query)
            shared = min(150, step // 2)
            number = int.from_bytes(TARGET) ^ rng.getrandbits(160 - shared)
            invented = [
                Contact(
                    (number ^ i).to_bytes(20),
                    (f"{rng.randrange(30, 90)}.{rng.randrange(256)}.{rng.randrange(256)}.9", 7),
                )
                for i in range(8)
            ]
            sender = rng.randbytes(20)
            node.receive(encode_response(Response(query.transaction, sender, invented)), address, 0.1)
    assert operation.done
    assert operation.lookup is not None
    assert operation.lookup.requests <= node.settings.max_lookup_requests


def test_a_lookup_succeeds_although_a_fifth_of_the_nodes_swallow_every_query() -> None:
    loop, rng = SimLoop(), random.Random(11)
    net = SimNet(loop, rng)
    swarm = SimSwarm(loop, net, rng)
    for i in range(60):
        loop.call_later(0.2 * i, swarm.add)
    run(loop, 60)
    publisher, seeker, *others = swarm.nodes
    announce = Announce(TARGET, 4001)
    publisher.start(announce)
    run(loop, 10)
    for mute in others[::5]:
        mute.leave()
    search = FindPeers(TARGET)
    seeker.start(search)
    run(loop, 30)
    loop.close()
    assert announce.stored >= 12
    assert search.fresh == [(publisher.address[0], 4001)]


# Bad addresses


@pytest.mark.parametrize(
    "peer",
    [
        ("84.1.1.1", 0),
        ("127.0.0.1", 80),
        ("224.0.0.1", 80),
        ("10.0.0.1", 80),
        ("192.168.1.1", 80),
        ("0.0.0.0", 80),
        ("255.255.255.255", 80),
        ("169.254.1.1", 80),
    ],
)
def test_peers_with_port_0_loopback_multicast_or_private_addresses_are_dropped(peer: Address) -> None:
    operation = FindPeers(TARGET)
    operation.heard(Contact(b"x" * 20, ASKER), Response(b"tran", b"x" * 20, peers=[peer, ("84.1.1.1", 80)]))
    assert operation.fresh == [("84.1.1.1", 80)]


def test_nodes_on_a_local_network_may_name_local_peers() -> None:
    operation = FindPeers(TARGET)
    operation.heard(
        Contact(b"x" * 20, ("10.0.0.7", 1)),
        Response(b"tran", b"x" * 20, peers=[("10.0.0.8", 80), ("10.0.0.9", 0)]),
    )
    assert operation.fresh == [("10.0.0.8", 80)]


def test_contacts_with_unusable_addresses_are_never_asked() -> None:
    node = DhtNode(Family.V4, rng=random.Random(3))
    node.add_bootstrap([ASKER], 0.0)
    query, _ = _one_request(node)
    bad = [
        ("127.0.0.1", 22),
        ("224.0.0.5", 6881),
        ("10.1.1.1", 53),
        ("84.5.5.5", 0),
        ("0.0.0.0", 1),
        ("240.0.0.1", 1),
    ]
    contacts = [Contact(bytes([i]) * 20, address) for i, address in enumerate(bad)]
    node.receive(encode_response(Response(query.transaction, b"x" * 20, contacts)), ASKER, 0.1)
    assert node.take_datagrams() == []


@pytest.mark.parametrize(
    "source", [("84.1.1.1", 0), ("224.0.0.1", 6881), ("0.0.0.0", 6881), ("255.255.255.255", 1)]
)
def test_a_query_from_an_impossible_source_is_not_answered(server: Server, source: Address) -> None:
    assert server.ask(Ping(), source) is None


def test_announcing_port_0_is_refused(server: Server) -> None:
    data = encode_query(
        Query(b"tran", b"q" * 20, AnnouncePeer(TARGET, 0, server.token(GetPeers(TARGET))), read_only=True)
    )
    server.node.receive(data, ASKER, server.now)
    reply = parse(server.node.take_datagrams()[0][0])
    assert isinstance(reply, ErrorReply)
    assert reply.code == 203


# Our own address


def test_one_network_cannot_talk_us_into_an_address() -> None:
    node = DhtNode(Family.V4, rng=random.Random(3))
    for i in range(250):
        node.votes.vote(f"66.6.6.{i}", "84.77.77.77")
    assert node.votes.address is None
    for i in range(6):
        node.votes.vote(f"85.{i}.1.1", "84.1.2.3")
    assert node.votes.address == "84.1.2.3"


def test_votes_for_local_addresses_are_not_counted() -> None:
    node = DhtNode(Family.V4, rng=random.Random(3))
    for i in range(20):
        node.votes.vote(f"85.{i}.1.1", "127.0.0.1")
    assert node.votes.address is None


def test_a_read_only_node_answers_nobody() -> None:
    node = DhtNode(Family.V4, rng=random.Random(3), read_only=True)
    node.receive(encode_query(Query(b"tran", b"q" * 20, FindNode(TARGET))), ASKER, 0.0)
    assert node.take_datagrams() == []


def test_a_read_only_asker_is_answered_and_not_kept(server: Server) -> None:
    assert isinstance(server.ask(FindNode(TARGET)), Response)
    assert server.node.take_datagrams() == []
    assert len(server.node.table) == 0

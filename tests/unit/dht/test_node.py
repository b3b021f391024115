from __future__ import annotations

import random

from pearrt.crypto import ed25519
from pearrt.dht.contact import Contact, Family
from pearrt.dht.items import MutableItem, sign_item
from pearrt.dht.krpc import (
    encode_query,
    encode_response,
    parse,
)
from pearrt.dht.messages import (
    FindNode,
    GetPeers,
    Ping,
    Put,
    Query,
    Response,
)
from pearrt.dht.node import DhtNode
from pearrt.dht.node_id import is_secure
from pearrt.dht.operations import Announce, FindMutable, FindNodes, FindPeers, PutMutable
from tests.support.sim import SimLoop, SimNet, run
from tests.support.sim_dht import SimSwarm

TARGET = b"t" * 20
SEED = b"s" * 32


class World:
    """A small simulated network."""

    def __init__(self, size: int = 30, loss: float = 0.0) -> None:
        self.loop, self.rng = SimLoop(), random.Random(7)
        self.net = SimNet(self.loop, self.rng, loss=loss)
        self.swarm = SimSwarm(self.loop, self.net, self.rng)
        for i in range(size):
            self.loop.call_later(0.2 * i, self.swarm.add)
        run(self.loop, 0.2 * size + 30)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()


def test_nodes_that_join_through_one_another_all_meet() -> None:
    with World() as world:
        assert all(len(node.node.table) >= 15 for node in world.swarm.nodes)


def test_every_node_learns_its_address_by_vote_and_takes_an_id_that_fits_it() -> None:
    with World() as world:
        for node in world.swarm.nodes:
            assert node.node.votes.address == node.address[0]
            assert is_secure(node.node.node_id, node.address[0])


def test_an_id_change_keeps_the_contacts() -> None:
    with World() as world:
        node = world.swarm.nodes[0].node
        before = {entry.contact for entry in node.table}
        node.change_id(b"z" * 20, world.loop.now)
        assert node.node_id == node.server.own_id == b"z" * 20
        assert {entry.contact for entry in node.table} <= before
        assert len(node.table) >= 15


def test_an_announce_is_stored_at_the_closest_nodes_and_found() -> None:
    with World() as world:
        publisher, seeker = world.swarm.nodes[3], world.swarm.nodes[20]
        announce, search = Announce(TARGET, 4001), FindPeers(TARGET)
        publisher.start(announce)
        run(world.loop, 5)
        assert announce.stored >= 15
        seeker.start(search)
        run(world.loop, 5)
        assert search.fresh == [(publisher.address[0], 4001)]


def test_a_put_overwrites_with_a_higher_seq_and_tells_cas_conflicts() -> None:
    with World() as world:

        def put(value: bytes, seq: int, cas: int | None = None) -> PutMutable:
            operation = PutMutable(
                ed25519.public_key(SEED), b"", lambda _: sign_item(SEED, value, salt=b"", seq=seq), cas=cas
            )
            world.rng.choice(world.swarm.nodes).start(operation)
            run(world.loop, 5)
            return operation

        assert put(b"one", 1).stored >= 15
        assert put(b"two", 2, cas=1).stored >= 15
        late = put(b"three", 3, cas=1)
        assert set(late.refusals) == {301}
        assert late.stored == 0
        find = FindMutable(ed25519.public_key(SEED), b"")
        world.swarm.nodes[9].start(find)
        run(world.loop, 5)
        assert isinstance(find.item, MutableItem)
        assert find.item.value == b"two"


def _put_to_nodes_that_hold(seqs: list[int | None], *, cas: int) -> tuple[PutMutable, list[int | None]]:
    """A put of seq 4 through nodes that return these seqs, and the cas that each was sent, in their order."""
    signed = sign_item(SEED, b"new", salt=b"", seq=4)
    operation = PutMutable(ed25519.public_key(SEED), b"", lambda _: signed, cas=cas)
    node = DhtNode(Family.V4, rng=random.Random(1))
    held = {(f"84.{i}.1.1", 6881): (bytes([i]) * 20, seq) for i, seq in enumerate(seqs, start=1)}
    for address, (node_id, _) in held.items():
        node.table.answered(Contact(node_id, address), 0.0)
    node.start(operation, 0.0)
    sent: dict[tuple[str, int], int | None] = {}
    while datagrams := node.take_datagrams():
        for data, address in datagrams:
            query = parse(data)
            assert isinstance(query, Query)
            if isinstance(query.request, Put):
                sent[address] = query.request.cas
            node_id, seq = held[address]
            item = None if seq is None else sign_item(SEED, b"%d" % seq, salt=b"", seq=seq)
            node.receive(
                encode_response(Response(query.transaction, node_id, token=b"tok", item=item)), address, 0.1
            )
    return operation, [sent[address] for address in held if address in sent]


def test_cas_is_left_out_towards_nodes_without_a_value_and_is_what_each_other_node_holds() -> None:
    operation, sent = _put_to_nodes_that_hold([None, 2, 3], cas=3)
    assert sent == [None, 2, 3]
    assert operation.stored == 3


def test_cas_of_another_seq_than_the_newest_writes_nothing_anywhere() -> None:
    operation, sent = _put_to_nodes_that_hold([None, 2, 3], cas=2)
    assert sent == []
    assert operation.done
    assert (operation.stored, operation.refusals) == (0, [301])


def test_a_lookup_reports_the_k_closest_nodes() -> None:
    with World() as world:
        operation = FindNodes(TARGET)
        asker = world.swarm.nodes[4]
        asker.start(operation)
        run(world.loop, 5)
        number = int.from_bytes(TARGET)
        others = sorted(
            (node.node.node_id for node in world.swarm.nodes if node is not asker),
            key=lambda each: int.from_bytes(each) ^ number,
        )
        found = [contact.node_id for contact in operation.closest(20)]
        assert found[:8] == others[:8]
        assert len(found) == 20


def test_dead_nodes_leave_the_tables() -> None:
    with World() as world:
        dead = world.swarm.nodes[:8]
        for node in dead:
            node.leave()
        run(world.loop, 3600)
        ids = {node.node.node_id for node in dead}
        for node in world.swarm.nodes[8:]:
            assert not ids & {entry.contact.node_id for entry in node.node.table}


def test_bootstrap_is_tried_again_until_somebody_answers() -> None:
    with World(size=5) as world:
        address = world.swarm.nodes[0].address
        world.net.detach(address)
        newcomer = world.swarm.add(bootstrap=[world.swarm.nodes[0]])
        run(world.loop, 60)
        assert len(newcomer.node.table) == 0
        world.net.attach(address, world.swarm.nodes[0]._receive)
        run(world.loop, 130)
        assert len(newcomer.node.table) >= 4


def test_restored_contacts_replace_bootstrap_nodes() -> None:
    with World(size=12) as world:
        newcomer = world.swarm.add(bootstrap=[])
        newcomer.node.restore(
            [Contact(n.node.node_id, n.address) for n in world.swarm.nodes[:5]], world.loop.now
        )
        newcomer.flush()
        operation = FindNodes(TARGET)
        newcomer.start(operation)
        run(world.loop, 10)
        assert len(newcomer.node.table) >= 5
        assert len(operation.closest(20)) >= 10


def test_a_restored_table_is_tried_again_while_nobody_answers() -> None:
    """The machine comes up before its network does."""
    with World(size=12) as world:
        newcomer = world.swarm.add(bootstrap=[])
        world.net.loss = 1.0
        newcomer.node.restore(
            [Contact(n.node.node_id, n.address) for n in world.swarm.nodes[:5]], world.loop.now
        )
        newcomer.flush()
        run(world.loop, 300)
        assert len(newcomer.node.table) == 0
        world.net.loss = 0.0
        run(world.loop, 130)
        assert len(newcomer.node.table) >= 5


def test_a_node_that_lost_everybody_joins_again_within_minutes() -> None:
    """The machine slept, or its network was away for hours."""
    with World(size=12) as world:
        sleeper = world.swarm.nodes[5]
        world.net.detach(sleeper.address)
        run(world.loop, 3 * 3600)
        assert len(sleeper.node.table) == 0
        world.net.attach(sleeper.address, sleeper._receive)
        run(world.loop, 130)
        assert len(sleeper.node.table) >= 5


def test_an_idle_node_says_little() -> None:
    with World() as world:
        before = world.net.sent
        run(world.loop, 3600)
        per_node_and_minute = (world.net.sent - before) / len(world.swarm.nodes) / 60
        assert per_node_and_minute < 12


def test_a_read_only_node_finds_and_is_not_found() -> None:
    with World() as world:
        reader = world.swarm.add()
        reader.node.read_only = True
        reader.node.change_id(b"r" * 20, world.loop.now)
        reader.flush()
        run(world.loop, 30)
        operation = FindNodes(TARGET)
        reader.start(operation)
        run(world.loop, 5)
        assert len(operation.closest(20)) == 20
        assert all(b"r" * 20 not in node.node.table for node in world.swarm.nodes if node is not reader)


# BEP 32


def _pair() -> tuple[DhtNode, DhtNode]:
    v4, v6 = DhtNode(Family.V4, rng=random.Random(1)), DhtNode(Family.V6, rng=random.Random(2))
    v4.pair_with(v6)
    for i in range(1, 9):
        v4.table.answered(Contact(bytes([i]) * 20, (f"84.{i}.1.1", 6881)), 0.0)
        v6.table.answered(Contact(bytes([i]) * 20, (f"2a01:{i}::1", 6881)), 0.0)
    return v4, v6


def _answer(node: DhtNode, request: FindNode | GetPeers, source: tuple[str, int]) -> Response:
    node.receive(encode_query(Query(b"tran", b"q" * 20, request, read_only=True)), source, 0.0)
    reply = parse(node.take_datagrams()[0][0])
    assert isinstance(reply, Response)
    return reply


def test_want_asks_for_contacts_of_either_family() -> None:
    v4, v6 = _pair()
    plain = _answer(v4, FindNode(TARGET), ("84.99.1.1", 1))
    assert (len(plain.contacts), len(plain.contacts6)) == (8, 0)
    both = _answer(v4, GetPeers(TARGET, (Family.V4, Family.V6)), ("84.99.1.1", 1))
    assert (len(both.contacts), len(both.contacts6)) == (8, 8)
    plain6 = _answer(v6, FindNode(TARGET), ("2a01:99::1", 1))
    assert (len(plain6.contacts), len(plain6.contacts6)) == (0, 8)


def test_ipv6_contacts_that_the_ipv4_node_hears_of_are_pinged_by_the_ipv6_node() -> None:
    v4, v6 = DhtNode(Family.V4, rng=random.Random(1)), DhtNode(Family.V6, rng=random.Random(2))
    v4.pair_with(v6)
    v4.add_bootstrap([("84.1.1.1", 6881)], 0.0)
    data, address = v4.take_datagrams()[0]
    query = parse(data)
    assert isinstance(query, Query)
    assert isinstance(query.request, FindNode)
    assert query.request.want == (Family.V4, Family.V6)
    six = [Contact(b"6" * 20, ("2a01:4f8::6", 6881))]
    v4.receive(encode_response(Response(query.transaction, b"x" * 20, (), six)), address, 0.1)
    (data, address), *_ = v6.take_datagrams()
    query = parse(data)
    assert isinstance(query, Query)
    assert isinstance(query.request, Ping)
    assert address == ("2a01:4f8::6", 6881)


def test_an_answer_names_the_address_that_it_answers() -> None:
    v4, _ = _pair()
    assert _answer(v4, FindNode(TARGET), ("84.99.1.1", 1234)).observed == ("84.99.1.1", 1234)

"""Swarms of more than fifty peers with all that goes wrong: honest peers finish, bad ones are dropped."""

from __future__ import annotations

from random import Random

import pytest

from pearrt.peer import messages as wire
from pearrt.swarm.reputation import Offence
from pearrt.swarm.upload import Grant
from tests.support.swarm_sim import CHANNEL, DIGEST, MBIT, SimNet, SimNode

RATE = 50 * MBIT
BLOCKS = 32


class Liar(SimNode):
    """Says that it holds everything, holds nothing, and says so when asked."""

    def start(self, held: set[bytes] | None = None) -> None:
        super().start(set(self.net.ids))

    def send_block(self, grant: Grant[SimNode]) -> None:
        self.net.deliver(self, grant.peer, wire.Refuse(CHANNEL, wire.NOT_FOUND, (grant.block_id,)))
        self.uploads.sent(grant.peer, 0, self.net.now)


class Withholder(Liar):
    """Says that it holds everything and never answers."""

    def send_block(self, grant: Grant[SimNode]) -> None:
        self.uploads.sent(grant.peer, 0, self.net.now)


class Corrupter(Liar):
    """Sends other bytes than were asked for."""

    def send_block(self, grant: Grant[SimNode]) -> None:
        SimNode.send_block(self, grant)

    def block_data(self, block_id: bytes) -> bytes:
        return bytes(32)


class Pusher(Liar):
    """Sends blocks that nobody asked for, to everybody, all the time."""

    def tick(self) -> None:
        for peer in self.peers:
            for n in range(20):
                self.net.deliver(self, peer, wire.Block(self.net.ids[n % BLOCKS], bytes(32)))
        super().tick()


def finish(net: SimNet, honest: list[SimNode], until: float = 300) -> None:
    net.run(until, lambda: all(node.done_at is not None or not node.alive for node in honest))
    late = [node.name for node in honest if node.done_at is None and node.alive]
    assert not late, f"not done after {until} s: {late}"
    assert all(len(node.held) == BLOCKS for node in honest if node.alive)


def partial_mesh(net: SimNet, degree: int) -> None:
    """Everybody dials `degree` others at random."""
    for node in net.nodes:
        for other in net.rng.sample(net.nodes, degree):
            net.connect(node, other)


@pytest.mark.parametrize("kind", [Liar, Withholder, Corrupter, Pusher])
def test_sixty_peers_finish_among_ten_bad_ones(kind: type[SimNode]) -> None:
    net = SimNet(blocks=BLOCKS, seed=5)
    net.add("seed", RATE, RATE).start(set(net.ids))
    honest = [net.add(f"honest {n:02}", RATE, RATE) for n in range(50)]
    bad = [net.add(f"bad {n}", RATE, RATE, kind=kind) for n in range(10)]
    for node in honest + bad:
        node.start()
    partial_mesh(net, 8)
    finish(net, honest)
    accused = {name for node in honest for name, _ in node.offences}
    assert all(name.startswith("bad") for name in accused), "an honest peer was dropped"
    if kind is not Withholder:
        assert accused == {node.name for node in bad}


def test_a_corrupter_is_banned_at_its_first_block_and_stays_out() -> None:
    net = SimNet(blocks=BLOCKS, seed=6)
    net.add("seed", RATE, RATE).start(set(net.ids))
    honest = net.add("honest", RATE, RATE)
    bad = net.add("bad", RATE, RATE, kind=Corrupter)
    honest.start()
    bad.start()
    net.mesh()
    finish(net, [honest])
    assert honest.offences == [("bad", Offence.BAD_BLOCK)]
    net.connect(honest, bad)
    assert bad not in honest.peers


def test_a_withheld_block_costs_seconds_and_no_more() -> None:
    net = SimNet(blocks=BLOCKS, seed=7)
    net.add("seed", RATE, RATE).start(set(net.ids))
    honest = net.add("honest", RATE, RATE)
    honest.start()
    net.add("bad", RATE, RATE, kind=Withholder).start()
    net.mesh()
    finish(net, [honest], until=20)
    assert honest.done_at is not None
    assert honest.done_at < 8


def test_churn_half_of_the_peers_leave_and_others_come() -> None:
    net = SimNet(blocks=BLOCKS, seed=8)
    rng = Random(8)
    seeder = net.add("seed", RATE, RATE)
    seeder.start(set(net.ids))
    nodes = [net.add(f"peer {n:02}", RATE, RATE) for n in range(40)]
    for node in nodes:
        node.start()
    partial_mesh(net, 6)
    for node in nodes[:20]:
        net.at(rng.uniform(0.2, 6), node.leave)

    def newcomer(number: int) -> None:
        node = net.add(f"late {number:02}", RATE, RATE)
        nodes.append(node)
        node.start()
        alive = [other for other in net.nodes if other.alive and other is not node]
        for other in rng.sample(alive, min(6, len(alive))):
            net.connect(node, other)

    for number in range(20):
        net.at(rng.uniform(0.5, 8), lambda n=number: newcomer(n))
    net.run(9)
    finish(net, nodes)
    assert all(not node.offences for node in nodes)


def test_the_seeder_dies_when_one_copy_is_out_and_all_still_finish() -> None:
    net = SimNet(blocks=BLOCKS, seed=9)
    seeder = net.add("seed", RATE, RATE)
    seeder.start(set(net.ids))
    nodes = [net.add(f"peer {n:02}", RATE, RATE) for n in range(12)]
    for node in nodes:
        node.start()
    net.mesh()

    def one_copy_is_out() -> bool:
        return set().union(*(node.held for node in nodes)) == set(net.ids)

    net.run(60, one_copy_is_out)
    sent = sum(seeder.sent.values())
    seeder.leave()
    finish(net, nodes)
    assert sent <= BLOCKS * 1.4


def test_slow_peers_delay_nobody_else() -> None:
    net = SimNet(blocks=BLOCKS, seed=10)
    net.add("seed", RATE, RATE).start(set(net.ids))
    fast = [net.add(f"fast {n}", RATE, RATE) for n in range(8)]
    slow = [net.add(f"slow {n}", RATE / 50, RATE / 50) for n in range(8)]
    for node in fast + slow:
        node.start()
    net.mesh()
    finish(net, fast, until=60)
    fluid = BLOCKS * net.block_bytes / RATE
    assert max(node.done_at or 0 for node in fast) < 3 * fluid


def test_a_peer_that_comes_back_is_asked_again() -> None:
    net = SimNet(blocks=BLOCKS, seed=11)
    seeder = net.add("seed", RATE, RATE)
    seeder.start(set(net.ids))
    peer = net.add("peer", RATE, RATE)
    peer.start()
    net.connect(seeder, peer)
    net.run(0.5)
    net.disconnect(seeder, peer)
    net.run(1)
    held = len(peer.held)
    assert 0 < held < BLOCKS
    net.connect(seeder, peer)
    finish(net, [peer])
    assert max(peer.net.nodes[0].sent.values()) <= 2
    bundle = peer.swarm.bundles.of_digest(DIGEST)
    assert bundle is not None
    assert bundle.ours.complete

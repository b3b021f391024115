"""A thousand nodes that lose datagrams and leave without a word: lookups still find what was stored.

One network for all tests of this file: 1,000 nodes, 5 % of datagrams lost, 20 % of the nodes replaced per
hour, 15 minutes of virtual time. Topics and items are stored once at the start and never again, which is
harder than in life.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from pearrt.crypto import ed25519
from pearrt.dht.items import MutableItem, sign_item
from pearrt.dht.operations import Announce, FindMutable, FindNodes, FindPeers, Operation, PutMutable
from tests.support.sim import Churn, SimLoop, SimNet, run
from tests.support.sim_dht import SimNode, SimSwarm

NODES = 1000
LOSS = 0.05
CHURN_PER_HOUR = 0.2
MINUTES = 15
TOPICS = 60
ITEMS = 30
LOOKUPS = 300


@dataclass
class Outcome:
    """What happened in the run."""

    topics: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    seeds: list[bytes] = field(default_factory=list)
    stores: list[Operation] = field(default_factory=list)
    peer_lookups: list[FindPeers] = field(default_factory=list)
    item_lookups: list[FindMutable] = field(default_factory=list)
    node_lookups: list[FindNodes] = field(default_factory=list)
    nearest: dict[bytes, bytes] = field(default_factory=dict)
    askers: dict[Operation, SimNode] = field(default_factory=dict)
    replaced: int = 0
    sent: int = 0
    lost: int = 0


class Run:
    """Builds the network and lets the time pass."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.loop = SimLoop()
        self.net = SimNet(self.loop, self.rng, loss=LOSS)
        self.swarm = SimSwarm(self.loop, self.net, self.rng)
        self.outcome = Outcome()

    def __call__(self) -> Outcome:
        for i in range(NODES):
            self.loop.call_later(0.1 * i, self.swarm.add)
        run(self.loop, 0.1 * NODES + 60)
        churn = Churn(
            self.loop, self.rng, share_per_hour=CHURN_PER_HOUR,
            population=lambda: len(self.swarm.nodes), replace=self.swarm.replace_one,
        )  # fmt: skip
        churn.start()
        self._spread(TOPICS, 30, self._announce)
        self._spread(ITEMS, 30, self._put)
        run(self.loop, 60)
        window = 60.0 * MINUTES - 120
        self._spread(LOOKUPS, window, self._find_peers)
        self._spread(LOOKUPS, window, self._find_item)
        self._spread(LOOKUPS // 3, window, self._find_nodes)
        run(self.loop, window + 30)
        churn.stop()
        self.outcome.replaced = churn.replaced
        self.outcome.sent, self.outcome.lost = self.net.sent, self.net.lost
        self.loop.close()
        return self.outcome

    def _spread(self, count: int, seconds: float, step: Callable[[], None]) -> None:
        for _ in range(count):
            self.loop.call_later(self.rng.uniform(0, seconds), step)

    def _start(self, operation: Operation, asker: SimNode | None = None) -> None:
        asker = asker or self.rng.choice(self.swarm.nodes)
        self.outcome.askers[operation] = asker
        asker.start(operation)

    def _announce(self) -> None:
        node = self.rng.choice(self.swarm.nodes)
        operation = Announce(self.rng.randbytes(20), 4001)
        self.outcome.topics[operation.target] = (node.address[0], 4001)
        self.outcome.stores.append(operation)
        self._start(operation, node)

    def _put(self) -> None:
        seed = self.rng.randbytes(32)

        def sign(newest: MutableItem | None) -> MutableItem:
            return sign_item(seed, b"current", salt=b"", seq=1)

        operation = PutMutable(ed25519.public_key(seed), b"", sign, cas=None)
        self.outcome.seeds.append(seed)
        self.outcome.stores.append(operation)
        self._start(operation)

    def _find_peers(self) -> None:
        operation = FindPeers(self.rng.choice(list(self.outcome.topics)))
        self.outcome.peer_lookups.append(operation)
        self._start(operation)

    def _find_item(self) -> None:
        operation = FindMutable(ed25519.public_key(self.rng.choice(self.outcome.seeds)), b"")
        self.outcome.item_lookups.append(operation)
        self._start(operation)

    def _find_nodes(self) -> None:
        operation = FindNodes(self.rng.randbytes(20))
        asker = self.rng.choice(self.swarm.nodes)
        others = [node.node.node_id for node in self.swarm.nodes if node is not asker]
        number = int.from_bytes(operation.target)
        self.outcome.nearest[operation.target] = min(others, key=lambda each: int.from_bytes(each) ^ number)
        self.outcome.node_lookups.append(operation)
        self._start(operation, asker)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return Run(seed=2026)()


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def lookups(outcome: Outcome) -> list[Operation]:
    return [*outcome.peer_lookups, *outcome.item_lookups]


def test_lookups_find_peers_and_items_at_5_percent_loss_and_20_percent_churn_per_hour(
    outcome: Outcome,
) -> None:
    peers = [each for each in outcome.peer_lookups if outcome.askers[each].alive]
    items = [each for each in outcome.item_lookups if outcome.askers[each].alive]
    found_peers = sum(outcome.topics[each.target] in each.fresh for each in peers)
    found_items = sum(each.item is not None and each.item.value == b"current" for each in items)
    assert outcome.replaced > 30
    assert outcome.lost > 0.04 * outcome.sent
    assert found_peers >= 0.99 * len(peers) > 250
    assert found_items >= 0.99 * len(items) > 250


def test_every_lookup_ends_unless_its_asker_left(outcome: Outcome) -> None:
    assert all(operation.done for operation, asker in outcome.askers.items() if asker.alive)


def test_hops_and_messages_per_lookup_stay_small(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    walks = [each.lookup for each in lookups(outcome) if each.lookup is not None]
    hops, queries = mean([walk.hops for walk in walks]), mean([walk.requests for walk in walks])
    most = max(walk.requests for walk in walks)
    stored = mean([each.stored for each in outcome.stores])
    with capsys.disabled():
        print(
            f"\n  {NODES} nodes, {LOSS:.0%} loss, {outcome.replaced} replaced in {MINUTES} min: "
            f"{hops:.2f} hops and {queries:.1f} queries per lookup (at most {most}); "
            f"stored at {stored:.1f} nodes; {outcome.sent:,} datagrams"
        )
    assert 1 <= hops <= 4
    assert 8 <= queries <= 16
    assert most <= 40


def test_stores_reach_nearly_k_nodes(outcome: Outcome) -> None:
    assert mean([each.stored for each in outcome.stores]) >= 17
    assert min(each.stored for each in outcome.stores) >= 12


def test_a_node_lookup_finds_the_very_nearest_node_unless_its_datagrams_are_lost(outcome: Outcome) -> None:
    # One query and its answer: both arrive with (1 - LOSS)^2 = 90 %.
    hits = sum(
        outcome.nearest[each.target] in [contact.node_id for contact in each.closest(8)]
        for each in outcome.node_lookups
    )
    assert hits >= 0.8 * len(outcome.node_lookups)

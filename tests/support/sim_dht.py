"""Many DHT nodes in one process under virtual time: `SimSwarm` of `DhtNode`s on a SimNet, without asyncio in
between.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from pearrt.dht.contact import Address, Family
from pearrt.dht.node import DhtNode
from pearrt.dht.operations import Operation
from pearrt.dht.settings import DhtSettings
from tests.support.sim import SimLoop, SimNet


class SimNode:
    """A DhtNode attached to a SimNet, with its timer."""

    def __init__(self, net: SimNet, loop: SimLoop, address: Address, node: DhtNode) -> None:
        self.node = node
        self.address = address
        self._net = net
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.alive = True
        net.attach(address, self._receive)
        self.flush()

    def _receive(self, data: bytes, source: Address) -> None:
        self.node.receive(data, source, self._loop.now)
        self.flush()

    def flush(self) -> None:
        for data, destination in self.node.take_datagrams():
            self._net.send(data, self.address, destination)
        self.node.take_changed()
        due = self.node.next_timer()
        if self._timer is None or self._timer.when() > due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.node.handle_timer(self._loop.now)
        self.flush()

    def start(self, operation: Operation) -> None:
        self.node.start(operation, self._loop.now)
        self.flush()

    def leave(self) -> None:
        """Goes without a word."""
        self.alive = False
        self._net.detach(self.address)
        if self._timer is not None:
            self._timer.cancel()


class SimSwarm:
    """A population of SimNodes with addresses spread over the public IPv4 space, each knowing a few bootstrap
    nodes.
    """

    def __init__(
        self, loop: SimLoop, net: SimNet, rng: random.Random, settings: DhtSettings | None = None
    ) -> None:
        self._loop = loop
        self._net = net
        self._rng = rng
        self._settings = settings or DhtSettings()
        self.nodes: list[SimNode] = []

    def add(self, *, bootstrap: Sequence[SimNode] | None = None) -> SimNode:
        """A new node joins through `bootstrap`, by default two nodes chosen at random."""
        if bootstrap is None:
            bootstrap = self._rng.sample(self.nodes, min(2, len(self.nodes)))
        node = DhtNode(
            Family.V4,
            rng=random.Random(self._rng.getrandbits(64)),
            settings=self._settings,
            now=self._loop.now,
        )
        member = SimNode(self._net, self._loop, self._address(), node)
        self.nodes.append(member)
        node.add_bootstrap([each.address for each in bootstrap], self._loop.now)
        member.flush()
        return member

    def _address(self) -> Address:
        octets = [self._rng.randrange(30, 90), *(self._rng.randrange(256) for _ in range(3))]
        return self._net.free((".".join(map(str, octets)), 6881))

    def replace_one(self) -> None:
        """One node goes without a word, another joins."""
        self.nodes.pop(self._rng.randrange(len(self.nodes))).leave()
        self.add()

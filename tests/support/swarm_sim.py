"""A swarm under virtual time: many `AppSwarm`s over a fluid network model.

Links carry blocks at max-min fair rates within every node's uplink and downlink; all messages take
`latency_s` and arrive in order. Nothing sleeps, everything is seeded. Behaviour of bad peers is a subclass of
`SimNode`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from pearrt.crypto.hashes import sha256
from pearrt.peer import messages as wire
from pearrt.swarm.app_swarm import AppSwarm
from pearrt.swarm.effects import Keep, MetadataCame, Newer, Offended, Send, ServeMetadata
from pearrt.swarm.member import Member
from pearrt.swarm.reputation import Offence, Reputation
from pearrt.swarm.upload import Grant, Promised, UploadQueue

TOPIC = sha256(b"topic")
DIGEST = sha256(b"index")
CHANNEL = 7
MBIT = 1e6 / 8


class SimApp:
    """The app side: integers as timestamps, 4 bytes each, no signatures; 0xff… never verifies."""

    topic = TOPIC

    def __init__(self) -> None:
        self.current: bytes | None = None
        self.considered = 0

    def timestamp(self) -> bytes | None:
        return self.current

    def consider_timestamp(self, raw: bytes) -> bool:
        self.considered += 1
        if raw.startswith(b"\xff"):
            from pearrt.errors import BadSignature

            raise BadSignature("not signed by a key of the root")
        return self.current is None or raw > self.current

    def proof(self) -> bytes | None:
        return None

    def consider_proof(self, raw: bytes) -> bool:
        return False

    def metadata_from(self, first_root: int) -> bytes | None:
        return self.current


@dataclass(eq=False)
class Flow:
    source: SimNode
    sink: SimNode
    block_id: bytes
    left: float
    rate: float = 0.0


class SimNode:
    """One peer. `up`, `down` in bytes per second."""

    def __init__(self, net: SimNet, name: str, up: float, down: float, site: str = "") -> None:
        self.net = net
        self.name = name
        self.up = up
        self.down = down
        self.site = site or name
        self.rng = Random(f"{net.seed}/{name}")
        self.app = SimApp()
        self.uploads: UploadQueue[SimNode] = UploadQueue(
            lambda peer, scope, ref: self.swarm.choose(peer, ref), **net.upload_options
        )
        self.swarm: AppSwarm[SimNode] = AppSwarm(self.app, self.rng, self.uploads, own_id=name.encode())
        self.reputation = Reputation()
        self.peers: set[SimNode] = set()
        self.held: set[bytes] = set()
        self.job = None
        self.done_at: float | None = None
        self.sent: Counter[bytes] = Counter()
        self.sent_to_site: Counter[str] = Counter()
        self.received_blocks = 0
        self.offences: list[tuple[str, Offence]] = []
        self.newer: list[bytes] = []
        self.alive = True
        self.look_again: float | None = None
        self.have_due = False

    def __repr__(self) -> str:
        return self.name

    def __lt__(self, other: SimNode) -> bool:
        return self.name < other.name

    # ---- life

    def start(self, held: set[bytes] | None = None) -> None:
        """Knows the index; holds some or none of it and wants the rest."""
        self.held = set(held or ())
        now = self.net.now
        self.swarm.set_bundle(DIGEST, self.net.ids, (), self.held, now)
        missing = set(self.net.ids) - self.held
        if missing:
            self.job = self.swarm.want(missing, foreground=True, now=now)
        else:
            self.done_at = now
        self.net.at(now + 1.0, self.tick)

    def leave(self) -> None:
        self.alive = False
        for peer in list(self.peers):
            self.net.disconnect(self, peer)

    def tick(self) -> None:
        if self.alive:
            self.swarm.tick(self.net.now)
            self.net.touch(self)
            self.net.at(self.net.now + 1.0, self.tick)

    # ---- messages

    def receive(self, peer: SimNode, message: wire.Message) -> None:
        if peer in self.peers:
            self.swarm.received(peer, message, self.net.now)
            self.net.touch(self)

    def block_arrived(self, peer: SimNode, block_id: bytes, data: bytes) -> None:
        self.received_blocks += 1
        self.receive(peer, wire.Block(block_id, data))

    def block_data(self, block_id: bytes) -> bytes:
        """What is sent as the block's bytes; the simulation's honest data is its id."""
        return block_id

    def pump(self) -> None:
        now = self.net.now
        for effect in self.swarm.effects(now):
            if isinstance(effect, Send):
                self.net.deliver(self, effect.peer, effect.message)
            elif isinstance(effect, Keep):
                if bytes(effect.data) == effect.block_id:
                    self.held.add(effect.block_id)
                    self.swarm.stored(effect.block_id)
                    self.swarm.announce_fresh(to_seeds=False)
                    if not self.have_due:
                        self.have_due = True
                        self.net.at(now + 0.05, self.tell_seeds)
                else:
                    self.swarm.rejected(effect.block_id, now)
                self.net.touch(self)
            elif isinstance(effect, Offended):
                self.offended(effect.peer, effect.offence)
            elif isinstance(effect, Newer):
                self.newer.append(effect.timestamp)
                self.swarm.ask_metadata(effect.peer, 1, now)
                self.net.touch(self)
            elif isinstance(effect, ServeMetadata):
                self.net.deliver(self, effect.peer, wire.Metadata(CHANNEL, self.app.current or b""))
            elif isinstance(effect, MetadataCame):
                self.adopt(effect.metadata)
        if self.job is not None and self.job.done and self.done_at is None:
            self.done_at = now
        self.serve()

    def tell_seeds(self) -> None:
        self.have_due = False
        self.swarm.announce_fresh(to_seeds=True)
        self.net.touch(self)

    def adopt(self, metadata: bytes) -> None:
        """The app verifies metadata; here it is the timestamp itself."""
        if self.app.current is None or metadata > self.app.current:
            self.app.current = metadata
            self.swarm.timestamp_changed()
            self.net.touch(self)

    def offended(self, peer: SimNode, offence: Offence) -> None:
        self.offences.append((peer.name, offence))
        if peer in self.peers:
            self.reputation.offend(peer.name.encode(), peer.name, offence, self.net.now)
            self.net.disconnect(self, peer)

    def serve(self) -> None:
        for item in self.uploads.serve(self.net.now):
            if isinstance(item, Promised):
                ordinals = (item.grant.ordinal,) if item.grant else ()
                self.net.deliver(self, item.peer, wire.Promise(CHANNEL, item.ref, ordinals))
            else:
                self.send_block(item)
        again = self.uploads.look_again_at(self.net.now)
        if again is not None and (self.look_again is None or self.look_again <= self.net.now):
            self.look_again = again
            self.net.at(again, lambda: self.net.touch(self))

    def send_block(self, grant: Grant[SimNode]) -> None:
        self.sent[grant.block_id] += 1
        self.sent_to_site[grant.peer.site] += 1
        self.net.start_flow(self, grant.peer, grant.block_id)


class SimNet:
    """The network and its clock."""

    def __init__(
        self,
        *,
        blocks: int,
        block_bytes: int = 1 << 18,
        latency_s: float = 0.005,
        seed: int = 1,
        **uploads: int,
    ) -> None:
        self.now = 0.0
        self.seed = seed
        self.rng = Random(seed)
        self.latency_s = latency_s
        self.block_bytes = block_bytes
        self.ids = [sha256(b"block %d" % n) for n in range(blocks)]
        self.upload_options = uploads
        self.nodes: list[SimNode] = []
        self.messages: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._flows: set[Flow] = set()
        self._flows_at = 0.0
        self._touched: dict[SimNode, None] = {}
        self._next_finish = float("inf")
        self._stale = False

    def add(
        self, name: str, up: float, down: float, *, kind: type[SimNode] = SimNode, site: str = ""
    ) -> SimNode:
        node = kind(self, name, up, down, site)
        self.nodes.append(node)
        return node

    def connect(self, a: SimNode, b: SimNode) -> None:
        if a is b or b in a.peers or not (a.alive and b.alive):
            return
        if any(x.reputation.banned(y.name.encode(), y.name, self.now) for x, y in ((a, b), (b, a))):
            return
        a.peers.add(b)
        b.peers.add(a)
        near = a.site == b.site
        for x, y in ((a, b), (b, a)):
            member = Member(
                peer_id=y.name.encode(),
                channel=CHANNEL,
                host="127.0.0.1",
                listen=None,
                near=near,
                now=self.now,
            )
            x.swarm.joined(y, member, self.now)
            self.touch(x)

    def disconnect(self, a: SimNode, b: SimNode) -> None:
        if b not in a.peers:
            return
        self._advance()
        for x, y in ((a, b), (b, a)):
            x.peers.discard(y)
            x.swarm.left(y, self.now)
            x.uploads.remove(y)
            self.touch(x)
        self._flows = {f for f in self._flows if {f.source, f.sink} != {a, b}}
        self._stale = True

    def mesh(self) -> None:
        """Everybody with everybody."""
        for a, b in itertools.combinations(self.nodes, 2):
            self.connect(a, b)

    # ---- events

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._serial), what))

    def touch(self, node: SimNode) -> None:
        self._touched[node] = None

    def deliver(self, source: SimNode, sink: SimNode, message: wire.Message) -> None:
        self.messages[type(message).__name__] += 1
        wire.encode(message)
        self.at(self.now + self.latency_s, lambda: sink.receive(source, message))

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Until virtual time `until` or `stop()`."""
        while not stop():
            self._pump()
            when = min(self._events[0][0] if self._events else float("inf"), self._finish_time())
            if when > until:
                self.now = until
                return
            if self._events and self._events[0][0] <= self._finish_time():
                self.now = when
                while self._events and self._events[0][0] <= self.now:
                    heapq.heappop(self._events)[2]()
            else:
                self.now = when
                self._finish_flows()

    def _pump(self) -> None:
        while self._touched:
            touched, self._touched = self._touched, {}
            for node in touched:
                if node.alive:
                    node.pump()

    # ---- blocks in flight

    def start_flow(self, source: SimNode, sink: SimNode, block_id: bytes) -> None:
        self._advance()
        self._flows.add(Flow(source, sink, block_id, float(self.block_bytes)))
        self._stale = True

    def _advance(self) -> None:
        elapsed = self.now - self._flows_at
        if elapsed > 0:
            for flow in self._flows:
                flow.left -= flow.rate * elapsed
        self._flows_at = self.now

    def _finish_time(self) -> float:
        if self._stale:
            self._advance()
            self._share()
            self._stale = False
            self._next_finish = min(
                (self.now + max(f.left, 0.0) / f.rate for f in self._flows if f.rate > 0),
                default=float("inf"),
            )
        return self._next_finish

    def _finish_flows(self) -> None:
        self._advance()
        for flow in [f for f in self._flows if f.left <= 1e-3]:
            self._flows.discard(flow)
            data = flow.source.block_data(flow.block_id)
            self.at(
                self.now + self.latency_s,
                lambda f=flow, d=data: f.sink.block_arrived(f.source, f.block_id, d),
            )
            flow.source.uploads.sent(flow.sink, self.block_bytes, self.now)
            self.touch(flow.source)
        self._stale = True

    def _share(self) -> None:
        """Max-min fair rates by progressive filling."""
        open_flows = set(self._flows)
        left: dict[tuple[str, SimNode], float] = {}
        users: dict[tuple[str, SimNode], set[Flow]] = {}
        for flow in open_flows:
            for key, capacity in (
                (("up", flow.source), flow.source.up),
                (("down", flow.sink), flow.sink.down),
            ):
                left[key] = capacity
                users.setdefault(key, set()).add(flow)
        while open_flows:
            key = min(
                (k for k in users if users[k]), key=lambda k: (left[k] / len(users[k]), k[0], k[1].name)
            )
            rate = max(left[key] / len(users[key]), 1.0)
            for flow in list(users[key]):
                flow.rate = rate
                open_flows.discard(flow)
                for other in (("up", flow.source), ("down", flow.sink)):
                    users[other].discard(flow)
                    left[other] -= rate

"""One app's swarm: its peers, bundles, downloads and gossip. Sans-I/O: messages and `now` in, effects out.

The shell calls `joined`/`left`/`received`/`tick`, carries out what `effects` returns and reports back with
`stored` or `rejected`. Uploads of all apps share one `UploadQueue`, under the app's topic as scope.
Simulations drive this very class.

Only blocks of the app's own bundles are served, and only to peers that proved the topic: the store holds
other apps' blocks, too. A block that nobody asked for is neither hashed nor kept.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from random import Random
from typing import Generic, TypeVar

from pearrt.errors import ProtocolViolation
from pearrt.peer import messages as wire
from pearrt.swarm.actions import Action, Arrival, Ask, Cancel, Condemn
from pearrt.swarm.bundle_state import BundleState
from pearrt.swarm.bundles import Bundles
from pearrt.swarm.diverse import diverse
from pearrt.swarm.download import Download, Downloads, Job
from pearrt.swarm.effects import (
    Confirmed,
    Effect,
    Heard,
    Keep,
    MetadataCame,
    Newer,
    Offended,
    Send,
    ServeMetadata,
    SwarmApp,
)
from pearrt.swarm.exchange import EXCHANGE_EVERY_S, PeerExchange
from pearrt.swarm.gossip import Gossip, News
from pearrt.swarm.have import HaveSet
from pearrt.swarm.member import Member
from pearrt.swarm.proofs import Heard as Told
from pearrt.swarm.proofs import Proofs
from pearrt.swarm.reputation import Offence
from pearrt.swarm.scope import Address, source_of
from pearrt.swarm.upload import UploadQueue

P = TypeVar("P", bound=Hashable)

MOST_NEWER = 2  # of those who claim to know more, before others are asked
_OFFENCES = {
    "sends blocks nobody asked for": Offence.UNASKED,
    "sent a block with a wrong digest": Offence.BAD_BLOCK,
    "announced blocks that it lacks": Offence.LIES,
    "delivers nothing": Offence.USELESS,
}


class AppSwarm(Generic[P]):
    """See the module. `members` and `bundles` are for reading."""

    def __init__(self, app: SwarmApp, rng: Random, uploads: UploadQueue[P], *, own_id: bytes = b"") -> None:
        self.app = app
        self.topic = app.topic
        self.members: dict[P, Member] = {}
        self.bundles: Bundles[P] = Bundles(rng)
        self.ourselves: set[Address] = set()
        self._rng = rng
        self._uploads = uploads
        self._downloads: Downloads[P] = Downloads(rng, own_id)
        self._gossip: Gossip[P] = Gossip(app.timestamp(), app.consider_timestamp)
        self._proofs: Proofs[P] = Proofs(app.proof, app.consider_proof)
        self._exchange: PeerExchange[P] = PeerExchange(rng)
        self._effects: list[Effect[P]] = []

    # -- peers

    def joined(self, peer: P, member: Member, now: float) -> None:
        """A peer proved the topic, and we did."""
        if peer in self.members:
            return
        self.members[peer] = member
        if (timestamp := self._gossip.joined(peer, now)) is not None:
            self._send(peer, wire.Timestamp(member.channel, timestamp))
        if (proof := self._proofs.joined(peer, now)) is not None:
            self._send(peer, wire.Proof(member.channel, proof))
        self._tell_peers(peer, member, now)
        for bundle in self.bundles:
            self._show(peer, bundle)
        self._downloads.joined(peer, member, now)

    def left(self, peer: P, now: float) -> None:
        """A peer left the app, or its connection ended."""
        if self.members.pop(peer, None) is None:
            return
        self._uploads.forget_scope(peer, self.topic)
        self._gossip.left(peer)
        self._proofs.left(peer)
        self._exchange.left(peer)
        for bundle in self.bundles:
            bundle.left(peer)
        self._downloads.left(peer, now)

    # -- bundles

    def set_bundle(
        self,
        digest: bytes,
        ids: Sequence[bytes],
        index_ids: Iterable[bytes],
        held: Iterable[bytes],
        now: float,
    ) -> BundleState[P]:
        """Serve and advertise a bundle: its unique blocks in index order, the index's own, and which are
        here.
        """
        bundle = self.bundles.put(digest, ids, index_ids, held)
        for peer, member in self.members.items():
            self._show(peer, bundle)
            self._resolve(peer, member, bundle, now)
        return bundle

    def choose(self, peer: P, ref: int) -> tuple[bytes, int] | None:
        """What to send a peer that asked for any block of a bundle."""
        bundle = self.bundles.of_ref(ref)
        if bundle is None or peer not in self.members:
            return None
        ordinal = bundle.spread.choose(peer, None if bundle.ours.complete else bundle.ours)
        if ordinal is None:
            return None
        bundle.spread.noted(peer, (ordinal,))
        return bundle.ids[ordinal], ordinal

    def _show(self, peer: P, bundle: BundleState[P]) -> None:
        channel = self.members[peer].channel
        if bundle.ours.complete:
            self._send(peer, wire.HaveAll(channel, bundle.digest))
        else:
            self._send(peer, wire.Bitfield(channel, bundle.digest, bundle.ours.encode()))

    def _resolve(self, peer: P, member: Member, bundle: BundleState[P], now: float) -> None:
        try:
            known, held = member.claims.resolve(bundle.digest, len(bundle.ids))
        except ProtocolViolation:
            self._effects.append(Offended(peer, Offence.VIOLATION))
            return
        if known:
            self._claimed(peer, bundle, held, now)

    def _claimed(self, peer: P, bundle: BundleState[P], held: HaveSet | None, now: float) -> None:
        bundle.claimed(peer, held)
        self._downloads.claimed(peer, self.members[peer], bundle, now)

    # -- downloads

    def want(self, ids: Iterable[bytes], *, foreground: bool, now: float) -> Job:
        """Starts fetching blocks that are not here. Call only with ids that the store lacks."""
        return self._downloads.want(ids, self.bundles, self.members, foreground=foreground, now=now)

    def give_up(self, job: Job) -> None:
        """The caller no longer waits; downloads that nobody waits for end."""
        for download, actions in self._downloads.give_up(job):
            self._emit(download, actions)

    @property
    def moving(self) -> bool:
        """Whether a foreground download is under way and has somebody to ask."""
        return self._downloads.moving

    def pause(self, *, background: bool, foreground: bool) -> None:
        """Ask for nothing new for a while."""
        for download in self._downloads:
            download.fetch.paused = foreground if download.foreground else background

    @property
    def arrived_twice(self) -> int:
        """Blocks that came in vain."""
        return self._downloads.arrived_twice

    def stored(self, block_id: bytes) -> None:
        """A block is in the store and verified."""
        for bundle in self.bundles:
            bundle.stored(block_id)
        for download, actions in self._downloads.stored(block_id):
            self._emit(download, actions)

    def lost(self, block_id: bytes) -> None:
        """The store no longer has a block that we said we hold: peers are shown what is left."""
        for bundle in self.bundles:
            ordinal = bundle.ordinals.get(block_id)
            if ordinal is not None and bundle.ours.discard(ordinal):
                for peer in self.members:
                    self._show(peer, bundle)

    def rejected(self, block_id: bytes, now: float) -> None:
        """A block was not what its id says: its sender is condemned, it is fetched from another."""
        download = self._downloads.of_block(block_id)
        if download is not None:
            download.fetch.failed(download.ordinals[block_id], now)

    # -- messages

    def received(self, peer: P, message: wire.Message, now: float) -> None:
        """A message of this app's channel, or a BLOCK. Raises RemoteError where the peer broke the
        protocol.
        """
        member = self.members.get(peer)
        if member is None:
            return
        handler = _HANDLERS.get(type(message))
        if handler is not None:
            handler(self, peer, member, message, now)

    def expects(self, block_id: bytes) -> bool:
        """Whether the block belongs to a download."""
        return self._downloads.of_block(block_id) is not None

    def stray(self, peer: P, now: float) -> None:
        """A block came that no download expects: fine now and then (a cancel crossed it), an offence if
        often.
        """
        member = self.members.get(peer)
        if member is not None and not member.strays.take(now):
            self._effects.append(Offended(peer, Offence.UNASKED))

    def _on_block(self, peer: P, member: Member, message: wire.Block, now: float) -> None:
        download = self._downloads.of_block(message.id)
        if download is None:
            self.stray(peer, now)
            return
        arrival = download.fetch.arrived(peer, download.ordinals[message.id], now)
        if arrival is Arrival.NEW:
            member.bytes_from += len(message.data)
            self._effects.append(Keep(peer, message.id, message.data))

    def _on_have_all(self, peer: P, member: Member, message: wire.HaveAll, now: float) -> None:
        if not member.shows.take(now):
            self._effects.append(Offended(peer, Offence.FLOOD))
            return
        bundle = self.bundles.of_digest(message.index_digest)
        if bundle is None:
            member.claims.holds_all(message.index_digest)
            self._downloads.showed(peer)
        else:
            self._claimed(peer, bundle, None, now)

    def _on_bitfield(self, peer: P, member: Member, message: wire.Bitfield, now: float) -> None:
        if not member.shows.take(now):
            self._effects.append(Offended(peer, Offence.FLOOD))
            return
        bundle = self.bundles.of_digest(message.index_digest)
        if bundle is None:
            member.claims.holds(message.index_digest, message.bits)
            self._downloads.showed(peer)
        else:
            self._claimed(peer, bundle, HaveSet.decode(message.bits, len(bundle.ids)), now)

    def _on_have(self, peer: P, member: Member, message: wire.Have, now: float) -> None:
        bundle = self.bundles.of_ref(message.ref)
        if bundle is None:
            member.claims.announced(message.ref, message.ordinals)
            return
        if max(message.ordinals) >= len(bundle.ids):
            raise ProtocolViolation("HAVE names a block past the last")
        new = peer not in bundle.claims
        before = bundle.held_by(peer)
        bundle.announced(peer, message.ordinals)
        stale = len(message.ordinals) - (bundle.held_by(peer) - before)
        if stale and not member.surplus.take(now, stale):
            self._effects.append(Offended(peer, Offence.FLOOD))
            return
        if new:
            self._downloads.claimed(peer, member, bundle, now)
        elif (download := self._downloads.of_bundle(bundle)) is not None:
            download.fetch.add_have(peer, message.ordinals)

    def _on_request(self, peer: P, member: Member, message: wire.Request, now: float) -> None:
        known = [block_id for block_id in message.ids if self.bundles.holds(block_id)]
        unknown = tuple(set(message.ids).difference(known))
        if unknown:
            self._send(peer, wire.Refuse(member.channel, wire.NOT_FOUND, unknown))
        refused = self._uploads.request(peer, self.topic, known)
        if refused:
            self._send(peer, wire.Refuse(member.channel, wire.LIMIT, tuple(refused)))
        if (surplus := len(refused) + len(unknown)) and not member.surplus.take(now, surplus):
            self._effects.append(Offended(peer, Offence.FLOOD))

    def _on_any(self, peer: P, member: Member, message: wire.AnyBlocks, now: float) -> None:
        bundle = self.bundles.of_ref(message.ref)
        if bundle is None or not bundle.ours.count:
            self._send(peer, wire.Promise(member.channel, message.ref, ()))
        else:
            self._uploads.ask(peer, self.topic, message.ref, message.count)

    def _on_promise(self, peer: P, member: Member, message: wire.Promise, now: float) -> None:
        bundle = self.bundles.of_ref(message.ref)
        if bundle is not None and message.ordinals and max(message.ordinals) >= len(bundle.ids):
            raise ProtocolViolation("PROMISE names a block past the last")
        download = self._downloads.of_bundle(bundle) if bundle is not None else None
        if download is None:
            if bundle is not None and message.ordinals:
                ids = tuple(bundle.ids[ordinal] for ordinal in message.ordinals)
                self._cancel(peer, ids)
        elif message.ordinals:
            download.fetch.promised(peer, message.ordinals, now)
        else:
            download.fetch.ask_refused(peer, now)

    def _on_cancel(self, peer: P, member: Member, message: wire.Cancel, now: float) -> None:
        self._uploads.cancel(peer, self.topic, message.ids)

    def _on_refuse(self, peer: P, member: Member, message: wire.Refuse, now: float) -> None:
        not_found = message.reason == wire.NOT_FOUND
        for block_id in message.ids:
            download = self._downloads.of_block(block_id)
            if download is not None:
                ordinal = download.ordinals[block_id]
                download.fetch.refused(peer, (ordinal,), not_found=not_found, now=now)

    def _on_timestamp(self, peer: P, member: Member, message: wire.Timestamp, now: float) -> None:
        news = self._gossip.heard(peer, message.data, now)
        if news is News.NEWER:
            self._effects.append(Newer(peer, message.data))
        elif news is News.SAME:
            self._effects.append(Confirmed(peer))
        elif news is News.OLDER and (ours := self._gossip.answer(peer)) is not None:
            self._send(peer, wire.Timestamp(member.channel, ours))
        elif news is News.REFUSED:
            self._effects.append(Offended(peer, Offence.BAD_TIMESTAMP))

    def _on_proof(self, peer: P, member: Member, message: wire.Proof, now: float) -> None:
        heard = self._proofs.heard(peer, message.data, now)
        if heard is Told.NEW:
            self.tell_proof()
        elif heard is Told.FALSE:
            self._effects.append(Offended(peer, Offence.FALSE_PROOF))
        elif heard is Told.FLOOD:
            self._effects.append(Offended(peer, Offence.FLOOD))

    def _on_get_metadata(self, peer: P, member: Member, message: wire.GetMetadata, now: float) -> None:
        if member.questions.take(now):
            self._effects.append(ServeMetadata(peer, message.first_root))
        else:
            self._effects.append(Offended(peer, Offence.FLOOD))

    def _on_metadata(self, peer: P, member: Member, message: wire.Metadata, now: float) -> None:
        if not member.metadata_asked:
            raise ProtocolViolation("METADATA that nobody asked for")
        member.metadata_asked -= 1
        self._effects.append(MetadataCame(peer, message.data))

    def _on_peers(self, peer: P, member: Member, message: wire.Peers, now: float) -> None:
        useful = self._exchange.heard(peer, member.host, message.addresses, self.ourselves, now)
        if useful is None:
            self._effects.append(Offended(peer, Offence.FLOOD))
        elif useful:
            self._effects.append(Heard(tuple(useful)))

    # -- saying things

    def ask_metadata(self, peer: P, first_root: int, now: float) -> bool:
        """Asks one peer for its metadata, unless that were more often than it has to bear."""
        member = self.members[peer]
        if not member.asks.take(now):
            return False
        member.metadata_asked += 1
        self._send(peer, wire.GetMetadata(member.channel, first_root))
        return True

    def best_informed(self) -> list[P]:
        """The peers to ask for metadata: two that told of a newer timestamp, then those that were found in
        different ways and sit in different networks, so that no crowd in one place is all that is asked."""
        peers = list(self.members)
        self._rng.shuffle(peers)
        newer = diverse([peer for peer in peers if self._gossip.knows_newer(peer)], self._marks)
        first = newer[:MOST_NEWER]
        return first + diverse([peer for peer in peers if peer not in first], self._marks)

    def _marks(self, peer: P) -> tuple[Hashable, ...]:
        member = self.members[peer]
        return source_of(member.host), member.origin

    def timestamp_changed(self) -> None:
        """The app trusts a newer timestamp now: peers are told."""
        if (raw := self.app.timestamp()) is not None:
            self._gossip.ours_changed(raw)
            self._effects += map(Confirmed, self._gossip.confirmers())
            self._tell_newest()

    def tell_proof(self) -> None:
        """The app keeps a proof of contradicting statements now: peers are told."""
        for peer, proof in self._proofs.to_tell():
            self._send(peer, wire.Proof(self.members[peer].channel, proof))

    def _tell_newest(self) -> None:
        for peer in self._gossip.to_tell():
            assert self._gossip.newest is not None
            self._send(peer, wire.Timestamp(self.members[peer].channel, self._gossip.newest))

    def tick(self, now: float) -> None:
        """About once a second: time-outs and peer exchange."""
        for download in self._downloads:
            download.fetch.tick(now)
        for peer, member in self.members.items():
            if now - member.exchanged_at >= EXCHANGE_EVERY_S:
                self._tell_peers(peer, member, now)

    def _tell_peers(self, peer: P, member: Member, now: float) -> None:
        others = [m.listen for p, m in self.members.items() if p != peer and m.listen is not None]
        addresses = self._exchange.to_tell(peer, member.host, others)
        if addresses:
            member.exchanged_at = now
            self._send(peer, wire.Peers(member.channel, addresses))

    def announce_fresh(self, *, to_seeds: bool) -> None:
        """Tells peers of the blocks stored since the last call (HAVE): those that still fetch, or the seeds.

        The former wait for it; to the latter it only says what not to send.
        """
        for bundle, ordinals in self.bundles.take_fresh(for_seeds=to_seeds):
            for peer, member in self.members.items():
                if bundle.is_seed(peer) == to_seeds:
                    self._send(peer, wire.Have(member.channel, bundle.ref, ordinals))

    def effects(self, now: float) -> list[Effect[P]]:
        """What to do now. Call after each batch of calls."""
        for download in self._downloads:
            self._emit(download, download.fetch.actions(now))
        result, self._effects = self._effects, []
        return result

    def _emit(self, download: Download[P], actions: Iterable[Action[P]]) -> None:
        for action in actions:
            if isinstance(action, Condemn):
                self._effects.append(Offended(action.source, _OFFENCES[action.reason]))
                continue
            member = self.members.get(action.source)
            if member is None:
                continue
            if isinstance(action, Ask):
                assert download.bundle is not None
                self._send(action.source, wire.AnyBlocks(member.channel, download.bundle.ref, action.count))
                continue
            ids = download.ids_of(action.ordinals)
            if isinstance(action, Cancel):
                self._cancel(action.source, ids)
                continue
            for at in range(0, len(ids), wire.MAX_REQUEST_IDS):
                self._send(action.source, wire.Request(member.channel, ids[at : at + wire.MAX_REQUEST_IDS]))

    def _cancel(self, peer: P, ids: tuple[bytes, ...]) -> None:
        channel = self.members[peer].channel
        for at in range(0, len(ids), wire.MAX_PROOFS):
            self._send(peer, wire.Cancel(channel, ids[at : at + wire.MAX_PROOFS]))

    def _send(self, peer: P, message: wire.Message) -> None:
        self._effects.append(Send(peer, message))


_Handler = Callable[..., None]
_HANDLERS: dict[type[wire.Message], _Handler] = {
    wire.Block: AppSwarm._on_block,
    wire.HaveAll: AppSwarm._on_have_all,
    wire.Bitfield: AppSwarm._on_bitfield,
    wire.Have: AppSwarm._on_have,
    wire.Request: AppSwarm._on_request,
    wire.AnyBlocks: AppSwarm._on_any,
    wire.Promise: AppSwarm._on_promise,
    wire.Cancel: AppSwarm._on_cancel,
    wire.Refuse: AppSwarm._on_refuse,
    wire.Timestamp: AppSwarm._on_timestamp,
    wire.GetMetadata: AppSwarm._on_get_metadata,
    wire.Metadata: AppSwarm._on_metadata,
    wire.Peers: AppSwarm._on_peers,
    wire.Proof: AppSwarm._on_proof,
}

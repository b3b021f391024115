"""PeerService on loopback: links, order, back-pressure, one link per peer, one port for two protocols."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket

import pytest

from pearrt.crypto import ed25519
from pearrt.errors import PearrtError, PeerTimeout, ProtocolViolation, Unreachable
from pearrt.peer.handshake import SelfConnection
from pearrt.peer.limits import PeerLimits
from pearrt.peer.link import PeerLink
from pearrt.peer.messages import BYE_LIMIT, Block, Cancel, Leave, Message, Request
from pearrt.peer.topic import channel_of, join_proof
from tests.support.peers import Recorder, peer

PSK = b"k" * 32


async def test_two_peers_link_and_know_each_other() -> None:
    ours, theirs = Recorder(), Recorder()
    async with peer(ours, agent="first") as first, peer(theirs, agent="second") as second:
        link = await first.connect(second.address)
        await theirs.wait(lambda: theirs.links)
        other = theirs.links[0]
        assert (link.peer_id, other.peer_id) == (second.peer_id, first.peer_id)
        assert link.handshake_hash == other.handshake_hash
        assert (link.initiator, other.initiator) == (True, False)
        assert (link.hello.agent, other.hello.agent) == ("second", "first")
        assert (link.address, link.listen_address) == (second.address, second.address)
        assert other.listen_address == first.address
        assert (link.local_host, other.local_host) == ("127.0.0.1", "127.0.0.1")
        assert first.links == [link]
        assert first.link_to(second.peer_id) is link


async def test_the_peer_id_is_the_public_key_of_the_seed() -> None:
    seed = os.urandom(32)
    async with peer(identity_seed=seed) as service:
        assert service.peer_id == ed25519.public_key(seed)


async def test_topics_are_proven_alike_on_both_sides_and_differently_by_each() -> None:
    ours, theirs = Recorder(), Recorder()
    async with peer(ours) as first, peer(theirs) as second:
        link = await first.connect(second.address)
        await theirs.wait(lambda: theirs.links)
        other = theirs.links[0]
        topic = b"t" * 32
        assert channel_of(topic, link.handshake_hash) == channel_of(topic, other.handshake_hash)
        by_us = join_proof(topic, link.handshake_hash, by_initiator=link.initiator)
        assert by_us == join_proof(topic, other.handshake_hash, by_initiator=not other.initiator)
        assert by_us != join_proof(topic, link.handshake_hash, by_initiator=not link.initiator)


async def test_messages_and_blocks_flow_both_ways_and_are_counted() -> None:
    ours, theirs = Recorder(), Recorder()
    async with peer(ours) as first, peer(theirs) as second:
        link = await first.connect(second.address)
        await theirs.wait(lambda: theirs.links)
        other = theirs.links[0]
        blocks = [Block(bytes([n]) * 32, os.urandom(200_000)) for n in range(8)]

        def answer(_: PeerLink, message: Message) -> None:
            if isinstance(message, Request):
                for block in blocks:
                    other.send(block)

        theirs.on_message = answer
        link.send(Request(1, tuple(block.id for block in blocks)))
        await ours.wait(lambda: len(ours.messages) == 8)
        assert ours.messages == blocks
        assert link.bytes_in > 1_600_000
        assert other.bytes_out == link.bytes_in


async def test_a_slow_reader_holds_the_blocks_back_and_small_messages_pass_them() -> None:
    ours, theirs = Recorder(), Recorder()
    async with peer(ours) as first, peer(theirs) as second:
        link = await first.connect(second.address)
        await theirs.wait(lambda: theirs.links)
        other = theirs.links[0]
        assert other._transport is not None
        other._transport.pause_reading()
        block = Block(b"i" * 32, bytes(262_144))
        for _ in range(60):
            link.send(block)
            await asyncio.sleep(0)
        assert not link.can_send
        assert link.queued_blocks > 0
        assert link.queued_bytes >= link.queued_blocks * 262_144
        waiting = link.queued_blocks
        link.send(Cancel(1, (b"c" * 32,)))
        assert link.drop_block(block.id)
        other._transport.resume_reading()
        await theirs.wait(lambda: len(theirs.messages) == 60)
        place = next(n for n, message in enumerate(theirs.messages) if isinstance(message, Cancel))
        assert place <= 60 - waiting + 1
        await ours.wait(lambda: ours.ready)
        assert link.can_send


async def test_one_block_at_a_time_by_the_ready_signal() -> None:
    ours, theirs = Recorder(), Recorder()
    async with peer(ours) as first, peer(theirs) as second:
        link = await first.connect(second.address)
        queue = [Block(bytes([n]) * 32, os.urandom(100_000)) for n in range(50)]
        most = 0

        def next_block(ready: PeerLink) -> None:
            nonlocal most
            if queue:
                ready.send(queue.pop())
                most = max(most, ready.queued_blocks)

        ours.link_ready = next_block  # type: ignore[assignment,method-assign]
        next_block(link)
        await theirs.wait(lambda: len(theirs.messages) == 50)
        assert most == 1


# -- ends


async def test_close_tells_both_sides_once_and_without_error() -> None:
    ours, theirs = Recorder(), Recorder()
    async with peer(ours) as first, peer(theirs) as second:
        link = await first.connect(second.address)
        await theirs.wait(lambda: theirs.links)
        link.close("done here")
        link.close("done here")
        link.send(Leave(1))
        await ours.wait(lambda: ours.lost)
        await theirs.wait(lambda: theirs.lost)
        assert [error for _, error in ours.lost + theirs.lost] == [None, None]
        assert first.links == second.links == []


async def test_closing_towards_a_peer_that_does_not_read_ends_all_the_same() -> None:
    ours, theirs = Recorder(), Recorder()
    async with peer(ours, limits=PeerLimits(close_timeout_s=0.1)) as first, peer(theirs) as second:
        link = await first.connect(second.address)
        await theirs.wait(lambda: theirs.links)
        transport = theirs.links[0]._transport
        assert transport is not None
        transport.pause_reading()
        while link.can_send:
            link.send(Block(b"i" * 32, bytes(262_144)))
            await asyncio.sleep(0)
        link.close("enough")
        await ours.wait(lambda: ours.lost)
        assert first.links == []


async def test_a_vanished_peer_is_told_as_unreachable() -> None:
    ours, theirs = Recorder(), Recorder()
    async with peer(ours) as first, peer(theirs) as second:
        await first.connect(second.address)
        await theirs.wait(lambda: theirs.links)
        theirs.links[0].abort()
        await ours.wait(lambda: ours.lost)
        assert isinstance(ours.lost[0][1], Unreachable)


async def test_a_receivers_remote_error_closes_the_link_and_says_whose_fault_it_was() -> None:
    ours, theirs = Recorder(), Recorder()

    def judge(link: PeerLink, message: Message) -> None:
        raise ProtocolViolation("a block nobody asked for")

    theirs.on_message = judge
    async with peer(ours) as first, peer(theirs) as second:
        link = await first.connect(second.address)
        link.send(Block(b"i" * 32, b"x"))
        await theirs.wait(lambda: theirs.lost)
        assert isinstance(theirs.lost[0][1], ProtocolViolation)
        await ours.wait(lambda: ours.lost)
        assert ours.lost[0][1] is None


async def test_stopping_a_service_ends_its_links() -> None:
    ours = Recorder()
    async with peer(ours) as first:
        async with peer() as second:
            await first.connect(second.address)
        await ours.wait(lambda: ours.lost)
        assert ours.lost[0][1] is None


# -- dialling


@pytest.mark.parametrize("steps", range(5))
async def test_stopping_a_service_drops_whom_it_accepted_a_moment_ago(steps: int) -> None:
    async with peer() as service:
        stranger = socket.create_connection(service.address)
        for _ in range(steps):
            await asyncio.sleep(0)
    stranger.settimeout(5)
    with stranger, contextlib.suppress(ConnectionResetError):
        assert stranger.recv(1) == b""
    gc.collect()  # a transport that nobody closed would say so


async def test_dialling_one_address_at_once_gives_one_link() -> None:
    ours, theirs = Recorder(), Recorder()
    async with peer(ours) as first, peer(theirs) as second:
        links = await asyncio.gather(*(first.connect(second.address) for _ in range(5)))
        assert len({id(link) for link in links}) == 1
        assert len(ours.links) == len(theirs.links) == 1


async def test_both_addresses_of_one_peer_at_once_give_one_link() -> None:
    ours, theirs = Recorder(), Recorder()
    async with (
        peer(ours) as first,
        peer(theirs, bind=[("127.0.0.1", 0), ("::1", 0)]) as second,
    ):
        assert second.addresses[0][1] == second.addresses[1][1]
        links = await asyncio.gather(*(first.connect(address) for address in second.addresses))
        assert links[0] is links[1]
        assert await first.connect(second.addresses[1]) is links[0]
        await asyncio.sleep(0)
        assert len(ours.links) == len(theirs.links) == 1
        assert len(second.links) == 1


@pytest.mark.parametrize("attempt", range(6))
async def test_peers_that_dial_each_other_at_once_keep_the_same_connection(attempt: int) -> None:
    ours, theirs = Recorder(), Recorder()
    async with peer(ours) as first, peer(theirs) as second:
        await asyncio.gather(first.connect(second.address), second.connect(first.address))

        def agreed() -> bool:
            hashes = [[link.handshake_hash for link in service.links] for service in (first, second)]
            return len(hashes[0]) == 1 and hashes[0] == hashes[1] and len(first._all) == len(second._all) == 1

        async with asyncio.timeout(5):
            while not agreed():
                await asyncio.sleep(0)
        first.links[0].send(Leave(1))
        await theirs.wait(lambda: Leave(1) in theirs.messages)
        assert not first.links[0].closed


async def test_a_peer_that_lost_its_end_gets_in_again() -> None:
    """The old link is replaced at once, and the receiver is told that it has ended."""
    ours, seed = Recorder(), os.urandom(32)
    limits = PeerLimits(simultaneous_s=0)
    async with peer(ours, limits=limits) as first, peer(identity_seed=seed) as second:
        await second.connect(first.address)
        await ours.wait(lambda: ours.links)
        second._links.clear()  # it forgets
        again = await second.connect(first.address)
        await ours.wait(lambda: len(ours.links) == 2)
        assert [link for link, _ in ours.lost] == [ours.links[0]]
        assert first.links == [ours.links[1]]
        assert again.handshake_hash == first.links[0].handshake_hash


async def test_dialling_oneself_is_refused() -> None:
    ours = Recorder()
    async with peer(ours) as service:
        with pytest.raises(SelfConnection):
            await service.connect(service.address)
        assert not ours.links


async def test_dialling_nobody_is_unreachable(free_port) -> None:  # type: ignore[no-untyped-def]
    async with peer() as service:
        with pytest.raises(Unreachable):
            await service.connect(("127.0.0.1", free_port()))


async def test_dialling_a_port_that_never_answers_times_out() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        async with peer(limits=PeerLimits(handshake_timeout_s=0.1)) as service:
            with pytest.raises(PeerTimeout):
                await service.connect(server.sockets[0].getsockname())
    finally:
        server.close()
        await server.wait_closed()


async def test_a_cancelled_dial_leaves_nothing_behind() -> None:
    async with peer() as first, peer() as second:
        dial = asyncio.create_task(first.connect(second.address))
        await asyncio.sleep(0)
        dial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dial
        assert not first._dials
        assert not first._dialled
        link = await first.connect(second.address)
        assert not link.closed


async def test_a_private_network_is_closed_to_strangers_and_open_to_its_own() -> None:
    async with (
        peer(psk=PSK) as first,
        peer(psk=PSK) as second,
        peer() as stranger,
        peer(psk=b"x" * 32) as other,
    ):
        link = await first.connect(second.address)
        assert "psk3" in link.protocol_name
        for outsider in (stranger, other):
            with pytest.raises(PearrtError):
                await outsider.connect(first.address)
            with pytest.raises(PearrtError):
                await first.connect(outsider.address)
        assert len(first.links) == 1


async def test_a_full_peer_takes_no_more_and_dials_no_more() -> None:
    async with peer(max_links=1) as first, peer() as second, peer() as third:
        await second.connect(first.address)
        with pytest.raises(PearrtError):
            await third.connect(first.address)
        with pytest.raises(Unreachable):
            await first.connect(third.address)


async def test_a_remembered_port_is_taken_again_and_a_taken_one_is_told() -> None:
    async with peer() as first:
        address = first.address
        with pytest.raises(Unreachable, match="listen"):
            async with peer(bind=address):
                pass
    async with peer(bind=address) as again:
        assert again.address == address


async def test_a_taken_port_is_replaced_where_that_is_allowed() -> None:
    async with peer() as first, peer(bind=first.address, any_port_if_taken=True) as second:
        assert second.address[0] == first.address[0]
        assert second.address[1] not in {0, first.address[1]}


async def test_a_silent_peer_is_noticed() -> None:
    ours, theirs = Recorder(), Recorder()
    limits = PeerLimits(ping_after_s=0.05, dead_after_s=0.15)
    async with peer(ours, limits=limits) as first, peer(theirs) as second:
        await first.connect(second.address)
        await theirs.wait(lambda: theirs.links)
        transport = theirs.links[0]._transport
        assert transport is not None
        transport.pause_reading()
        await ours.wait(lambda: ours.lost)
        assert isinstance(ours.lost[0][1], PeerTimeout)
        transport.resume_reading()
        await theirs.wait(lambda: theirs.lost)


async def test_an_idle_link_lives_on_by_pings() -> None:
    ours, theirs = Recorder(), Recorder()
    limits = PeerLimits(ping_after_s=0.03, dead_after_s=0.4)
    async with peer(ours, limits=limits) as first, peer(theirs) as second:
        link = await first.connect(second.address)
        before = link.bytes_in
        async with asyncio.timeout(5):
            while link.bytes_in < before + 15 * 30:  # fifteen PONGs, hence longer than `dead_after_s`
                await asyncio.sleep(0.01)
        assert not ours.lost
        assert link.rtt_s is not None


async def test_a_dead_link_does_not_keep_its_peer_out_when_it_is_dialled_again() -> None:
    """The dialler has the old link prove that it is alive; once it failed, dialling gives a new one."""
    ours, theirs = Recorder(), Recorder()
    limits = PeerLimits(probe_timeout_s=0.05)
    async with peer(ours, limits=limits) as first, peer(theirs) as second:
        old = await first.connect(second.address)
        await theirs.wait(lambda: theirs.links)
        transport = theirs.links[0]._transport
        assert transport is not None
        transport.pause_reading()
        assert await first.connect(second.address) is old
        await ours.wait(lambda: ours.lost)
        again = await first.connect(second.address)
        assert again is not old
        await theirs.wait(lambda: len(theirs.links) == 2)
        assert second.links == [theirs.links[1]]


async def test_a_peer_that_listens_nowhere_says_so() -> None:
    theirs = Recorder()
    async with peer(bind=[]) as quiet, peer(theirs) as second:
        await quiet.connect(second.address)
        await theirs.wait(lambda: theirs.links)
        assert theirs.links[0].listen_address is None


async def test_a_receiver_may_turn_a_link_away_as_it_opens() -> None:
    theirs = Recorder()

    def refuse(link: PeerLink) -> None:
        link.close("banned", code=BYE_LIMIT)

    ours = Recorder()
    async with peer(ours) as first, peer(theirs, on_link=refuse) as second:
        second.on_link = refuse
        link = await first.connect(second.address)
        await ours.wait(lambda: ours.lost)
        assert link.closed
        assert second.links == []

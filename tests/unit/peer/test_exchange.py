"""A whole exchange, byte for byte: the vector that docs/protocol/peer.md shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pearrt.peer.connection import Connection, Event, Opened, State
from pearrt.peer.handshake import Handshake, Identity
from pearrt.peer.limits import PeerLimits
from pearrt.peer.messages import BYE_DONE, Block, Bye, Hello, Join, Request
from pearrt.peer.topic import channel_of, join_proof

ROOT = Path(__file__).parents[3]
VECTOR: dict[str, Any] = json.loads((ROOT / "tests/vectors/peer/exchange.json").read_text())


def side(name: str, port: int) -> Connection:
    keys = {what: bytes.fromhex(value) for what, value in VECTOR[name].items()}
    handshake = Handshake(
        Identity.create(keys["seed"], keys["static"]),
        initiator=name == "initiator",
        random_bytes=lambda _: keys["ephemeral"],
        aes=False,
    )
    return Connection(handshake, Hello("pearrt/1", port), PeerLimits(), 0.0)


def test_the_exchange_of_the_specification_byte_for_byte() -> None:
    initiator, responder = side("initiator", 6881), side("responder", 6882)
    flights = iter(VECTOR["flights"])
    events: list[Event] = []

    def turn(sender: Connection, receiver: Connection) -> None:
        pieces = []
        while (piece := sender.to_send()) is not None:
            pieces.append(bytes(piece))
        data = b"".join(pieces)
        flight = next(flights)
        assert flight["from"] == ("initiator" if sender is initiator else "responder")
        assert data.hex() == flight["bytes"]
        receiver.room()[: len(data)] = data
        events.extend(receiver.received(len(data), 0.0))

    for _ in range(3):
        turn(initiator, responder)
        turn(responder, initiator)
    assert initiator.session is not None
    handshake_hash = initiator.session.handshake_hash
    assert handshake_hash.hex() == VECTOR["handshake_hash"]
    topic = bytes.fromhex(VECTOR["topic"])
    proof, channel = join_proof(topic, handshake_hash, by_initiator=True), channel_of(topic, handshake_hash)
    assert (proof.hex(), channel) == (VECTOR["join_proof"], VECTOR["channel"])
    initiator.send(Join((proof,)))
    initiator.send(Request(channel, (b"\x07" * 32,)))
    turn(initiator, responder)
    responder.send(Block(b"\x07" * 32, b"stored bytes"))
    turn(responder, initiator)
    initiator.say_bye(BYE_DONE, "done")
    turn(initiator, responder)
    assert [type(event) for event in events] == [Opened, Opened, Join, Request, Block, Bye]
    assert initiator.state is responder.state is State.CLOSED
    assert next(flights, None) is None


def test_the_specification_shows_this_exchange() -> None:
    page = ROOT / "docs/protocol/peer.md"
    if not page.exists():
        pytest.skip("not applicable: the documentation is not here")
    shown = "".join(page.read_text().split())
    for flight in VECTOR["flights"]:
        assert flight["bytes"] in shown

"""What one daemon passes to the next: descriptors arrive, hostile messages are errors, and the channels of
running apps go on in the middle of a frame."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pearrt.app.start import Start
from pearrt.daemon.channel import Channels
from pearrt.daemon.instance import Instance
from pearrt.errors import PeerTimeout, ProtocolViolation, Unreachable
from pearrt.paths import Home
from pearrt.runtime.handover import MAX_MESSAGE_BYTES, Item, Line, close_all, of_kind
from pearrt.sandbox.policy import Permissions
from tests.support.channel_end import End

APP = b"a" * 32


@pytest.fixture
def lines() -> Iterator[tuple[Line, Line]]:
    ours, theirs = Line.pair()
    with ours, Line(theirs) as other:
        yield ours, other


def test_descriptors_arrive_with_their_facts(lines: tuple[Line, Line]) -> None:
    old, new = lines
    read, write = os.pipe()
    items = [Item("pipe", {"name": "ü"}, write), Item("token", {"ttl_s": 1.5})]
    old.send_all(items)
    got = new.receive_all(5)
    assert [(item.kind, dict(item.fields)) for item in got] == [
        ("pipe", {"name": "ü"}),
        ("token", {"ttl_s": 1.5}),
    ]
    assert not os.get_inheritable(got[0].fd)
    os.write(got[0].fd, b"through")
    assert os.read(read, 100) == b"through"
    assert [item.kind for item in of_kind(got, "token")] == ["token"]
    close_all(got)
    close_all(items)
    os.close(read)


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\xff\xff\xff\xff",
        b"\x00" + (MAX_MESSAGE_BYTES + 1).to_bytes(4) + b"x",
        b"\x00\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x00\x04\xff\xfe{}",
        b"\x01\x00\x00\x00\x0d" + b'{"kind": "x"}',
    ],
)
def test_what_is_no_message_is_refused(lines: tuple[Line, Line], said: bytes) -> None:
    lines[0].connection.sendall(said)
    with pytest.raises(ProtocolViolation):
        lines[1].receive(5)


def test_an_end_or_silence_is_told_apart(lines: tuple[Line, Line]) -> None:
    old, new = lines
    with pytest.raises(PeerTimeout):
        new.receive(0.01)
    old.connection.sendall(b"\x00\x00\x00")
    old.close()
    with pytest.raises(Unreachable, match="middle"):
        new.receive(5)
    with pytest.raises(Unreachable):
        new.send("ready")
    with pytest.raises(ProtocolViolation, match="bytes"):
        new.send("x", text="y" * MAX_MESSAGE_BYTES)


def test_other_kinds_are_left_aside_while_one_is_waited_for(lines: tuple[Line, Line]) -> None:
    old, new = lines
    read, write = os.pipe()
    old.send("of a later version", write)
    old.send("serving")
    assert new.expect("serving", 5).kind == "serving"
    os.close(write)
    assert os.read(read, 1) == b"", "the descriptor that nobody took is closed"
    os.close(read)


# -- channels


async def _answer(
    instance: Instance, method: str, fields: dict[str, Any]
) -> tuple[Any, socket.socket | None]:
    if method == "wait":
        await asyncio.Event().wait()
    return {"version": instance.start.version, "memory": instance.start.asked.memory_bytes}, None


def _channels(home: Home, inherited: list[Item] | None = None) -> Channels:
    return Channels(
        home.runtime / "app.sock", answer=_answer, changed=lambda: None, inherited=inherited or ()
    )


START = Start(APP, "1.0", "d" * 64, Permissions(memory_bytes=77))
ANSWER = {"version": "1.0", "memory": 77}


async def test_a_running_app_goes_on_in_the_middle_of_a_frame(home: Home) -> None:
    async with _channels(home) as old, End.open(old.socket, old.issue(START)) as app:
        assert await app.call("who") == ANSWER
        frame = json.dumps({"id": 7, "method": "who"}).encode()
        app.writer.write(len(frame).to_bytes(4) + frame[:5])
        await asyncio.sleep(0.05)
        items = await old.pass_on()
        async with _channels(home, items) as new:
            app.writer.write(frame[5:])
            assert (await app.read())["result"] == ANSWER
            assert new.running(APP) == 1
            new.tell(APP, {"event": "update-ready"})
            assert (await app.read())["event"] == "update-ready"
        close_all(items)


async def test_a_call_that_takes_long_is_to_be_made_again(home: Home) -> None:
    async with _channels(home) as old, End.open(old.socket, old.issue(START)) as app:
        app.send({"id": 3, "method": "wait"})
        while not next(iter(old.open)).calls:  # it is on its way
            await asyncio.sleep(0.01)
        items = await old.pass_on()
        answer = await app.read()
        assert (answer["id"], answer["error"]["code"]) == (3, "peer-timeout")
        async with _channels(home, items):
            assert await app.call("who") == ANSWER
        close_all(items)


async def test_a_start_that_was_issued_opens_its_channel_at_the_next_daemon(home: Home) -> None:
    async with _channels(home) as old:
        token = old.issue(START)
        items = await old.pass_on()
    async with _channels(home, items) as new, End.open(new.socket, token) as app:
        assert await app.call("who") == ANSWER
    close_all(items)


async def test_a_permission_of_a_later_version_is_left_aside(home: Home) -> None:
    async with _channels(home) as old:
        token = old.issue(START)
        items = await old.pass_on()
    next(of_kind(items, "token")).fields["start"]["asked"]["teleport"] = True
    async with _channels(home, items) as new, End.open(new.socket, token) as app:
        assert await app.call("who") == ANSWER
    close_all(items)

"""What the daemon lets through of what `pearrt run` hands over for an app, whoever that is."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pearrt.errors import Denied, LimitExceeded
from pearrt.paths import Home
from pearrt.sdk import aio, frames
from tests.support.beside import Beside, running
from tests.support.channel_end import End

A = b"a" * 32


@pytest.fixture
async def beside(home: Home) -> AsyncIterator[Beside]:
    async with running(home.apps, home.runtime) as made:
        yield made


def hand_over(person: End, asked: dict[str, Any], fds: Sequence[int], name: str = "a.txt") -> None:
    """The person's answer, with descriptors beside it, which are closed here."""
    inner = person.writer.get_extra_info("socket")
    with socket.socket(fileno=os.dup(inner.fileno())) as connection:
        socket.send_fds(connection, [frames.encode({"id": asked["id"], "result": {"name": name}})], list(fds))
    for fd in fds:
        os.close(fd)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def asked_for(app: End, person: End, **fields: Any) -> dict[str, Any]:
    app.send({"id": 7, "method": "files.open", "purpose": "why\x1b[2J", **fields})
    asked = await person.read()
    assert asked["purpose"] == "why\N{REPLACEMENT CHARACTER}[2J"
    return asked


async def test_only_a_regular_file_that_is_open_for_just_that_is_passed_on(
    beside: Beside, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("text")
    start = beside.known.add(A, {"files": True})
    async with beside.end(start) as app, beside.attendant(start) as person:
        await person_is_there(beside, start)
        before = open_descriptors()
        for fds in (
            [os.open(tmp_path / "file", os.O_RDWR)],
            [os.open(tmp_path / "file", os.O_WRONLY)],
            [os.open("/dev/null", os.O_RDONLY)],
            [],
            [os.open(tmp_path / "file", os.O_RDONLY) for _ in range(2)],
        ):
            hand_over(person, await asked_for(app, person, mode="read"), fds)
            answer = await app.read()
            assert answer["error"]["code"] == "denied", answer
        assert open_descriptors() == before
        with pytest.raises(LimitExceeded):
            await app.call("files.open", purpose="once more")


async def test_a_folder_that_is_handed_over_ends_nothing_but_the_call(beside: Beside, tmp_path: Path) -> None:
    start = beside.known.add(A, {"files": True})
    async with beside.end(start) as app, beside.attendant(start) as person:
        await person_is_there(beside, start)
        hand_over(person, await asked_for(app, person), [os.open(tmp_path, os.O_RDONLY)])
        assert (await app.read())["error"]["code"] == "denied"
        assert (await app.call("app.info"))["permissions"] == ["files"]


async def test_what_is_taken_back_while_the_person_chooses_is_not_passed_on(
    beside: Beside, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("text")
    start = beside.known.add(A, {"files": True})
    async with beside.end(start) as app, beside.attendant(start) as person:
        await person_is_there(beside, start)
        asked = await asked_for(app, person)
        beside.live.revoke(A, ["files"])
        hand_over(person, asked, [os.open(tmp_path / "file", os.O_RDONLY)])
        assert (await app.read())["event"] == "permission-revoked"
        assert (await app.read())["error"]["code"] == "denied"
        with pytest.raises(Denied):
            await app.call("files.open", purpose="again")


async def test_the_sdk_gives_a_file_with_its_name_and_nobodys_path(
    beside: Beside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    start = beside.known.add(A, {"files": True})
    async with beside.sdk(start, monkeypatch), beside.attendant(start) as person:
        await person_is_there(beside, start)
        for mode, flags in (("read", os.O_RDONLY), ("save", os.O_WRONLY)):
            opening = asyncio.create_task(aio.files.open("why", mode, name="x"))
            hand_over(person, await person.read(), [os.open(path, flags)], "file\x1b.txt")
            with await opening as file:
                assert file.name == "file\N{REPLACEMENT CHARACTER}.txt"
                assert (file.readable(), file.writable()) == (mode == "read", mode == "save")
                if mode == "read":
                    assert file.read() == b"text"
                else:
                    file.write(b"TE")
    assert path.read_text() == "TExt"


async def test_a_waiting_call_that_was_given_up_leaves_no_descriptor(
    beside: Beside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("text")
    start = beside.known.add(A, {"files": True})
    async with beside.sdk(start, monkeypatch), beside.attendant(start) as person:
        await person_is_there(beside, start)
        before = open_descriptors()
        opening = asyncio.create_task(aio.files.open("why"))
        asked = await person.read()
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        hand_over(person, asked, [os.open(tmp_path / "file", os.O_RDONLY)])
        assert (await aio.app.info()).permissions == ("files",)
        async with asyncio.timeout(5):
            while open_descriptors() != before:
                await asyncio.sleep(0.005)


async def person_is_there(beside: Beside, start: Any) -> None:
    while beside.instance(start).attendant is None:
        await asyncio.sleep(0)

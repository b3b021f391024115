"""What an app gets from the daemon through the SDK, and what a hostile one does not get."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pearrt import sdk
from pearrt.app.followed import Pending
from pearrt.app.record import News
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.daemon import app_calls, app_log
from pearrt.daemon.rate import Bucket, Rate
from pearrt.errors import Denied, LimitExceeded, PearrtError, UserError
from pearrt.paths import Home
from pearrt.sdk import aio
from pearrt.sdk import channel as sdk_channel
from pearrt.sdk.frames import MAX_FRAME_BYTES
from tests.support.beside import Beside, running

A, B = b"a" * 32, b"b" * 32
WIDE = {"notify": True, "net.hosts": ["example.com:443", "example.org:80"], "clipboard": True}


@pytest.fixture
async def beside(home: Home) -> AsyncIterator[Beside]:
    async with running(home.apps, home.runtime) as made:
        yield made


async def test_sync_and_async_say_the_same(beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    start = beside.known.add(A, {"storage": "5 MiB", **WIDE})
    (beside.known.known(A).folder.data / "file").write_bytes(os.urandom(20_000))
    async with beside.sdk(start, monkeypatch):
        info = await aio.app.info()
        assert info == await asyncio.to_thread(sdk.app.info)
        assert (info.name, info.version, info.protocol) == ("told", "1.0", sdk.PROTOCOL)
        assert info.permissions == ("example.com:443", "example.org:80", "notify", "clipboard")
        usage = await aio.storage.usage()
        assert usage == await asyncio.to_thread(sdk.storage.usage)
        assert usage.quota_bytes == 5 << 20
        assert usage.used_bytes >= 20_000
        assert (await aio.updates.status()) == await asyncio.to_thread(sdk.updates.status)


async def test_updates_are_told_to_listeners_and_iterators_once(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = beside.known.add(A)
    app = beside.known.known(A)
    async with beside.sdk(start, monkeypatch):
        assert (await aio.updates.status()).ready is None
        told: list[sdk.updates.Update] = []
        heard = threading.Event()
        sdk.updates.on_ready(lambda update: (told.append(update), heard.set()))
        app.pending = Pending("2.0", Manifest("told", "2.0", Entry.parse("told:main")))
        async for update in aio.updates.ready():
            assert (update.version, update.widens) == ("2.0", True)
            break
        event = {"version": "2.0", "notes": "", "security": False, "widens": True}
        for _ in range(3):
            beside.live.tell(A, {"event": "update-ready", **event})
        beside.live.tell(A, {"event": "update-ready", **event, "version": "3.0", "security": True})
        while len(told) < 2:
            assert await asyncio.to_thread(heard.wait, 5)
            heard.clear()
        assert [(update.version, update.security) for update in told] == [("2.0", False), ("3.0", True)]
        assert (await aio.updates.apply()).ready is not None
        assert beside.known.applied == [A]


async def test_the_daemons_end_is_an_error_and_not_a_hang(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = beside.known.add(A)
    async with beside.sdk(start, monkeypatch):
        waiting = asyncio.create_task(anext(aiter(aio.updates.ready())))  # type: ignore[arg-type]
        while not beside.instance(start).wire.flushed or not (await aio.app.info()):
            await asyncio.sleep(0)
        for task in list(beside.channels._tasks):
            task.cancel()
        with pytest.raises(sdk.NotConnected):
            await waiting
        with pytest.raises(sdk.NotConnected):
            await asyncio.to_thread(sdk.app.info)
        with pytest.raises(sdk.NotConnected):
            await aio.app.info()


def test_outside_a_sandbox_calls_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PEARRT_CHANNEL_FD", "PEARRT_DATA"):
        monkeypatch.delenv(name, raising=False)
    for call in (sdk.app.info, sdk.storage.path, sdk.updates.status):
        with pytest.raises(sdk.NotConnected):
            call()


@pytest.mark.parametrize("forked", [True, False], ids=["forked", "started"])
def test_a_child_process_is_told_where_the_channel_is(monkeypatch: pytest.MonkeyPatch, forked: bool) -> None:
    monkeypatch.setenv("PEARRT_CHANNEL_FD", "1000000")  # as inherited: closed
    monkeypatch.setattr(sdk_channel, "_channel", None)
    monkeypatch.setattr(sdk_channel, "_forked", forked)
    with pytest.raises(sdk.NotConnected, match="another process") as refused:
        sdk.app.info()
    assert "Make the call there" in refused.value.hint


async def test_without_the_grant_every_call_that_needs_one_is_denied(beside: Beside) -> None:
    start = beside.known.add(A, {"p2p": ["store"]})
    async with beside.end(start) as app:
        for method, fields in {
            "notify": {"title": "a", "body": "b"},
            "net.open": {"host": "example.com", "port": 443},
            "updates.restart": {},
            "open_url": {"url": "https://example.com/"},
            "files.open": {"purpose": "why", "mode": "read"},
            "clipboard.write": {"text": "a"},
            "clipboard.read": {},
        }.items():
            with pytest.raises(Denied):
                await app.call(method, **fields)


async def test_what_was_refused_or_asked_for_by_another_app_only_is_denied(beside: Beside) -> None:
    refusing = beside.known.add(A, WIDE, refused=("notify", "example.com:443"))
    beside.known.add(B, WIDE)
    async with beside.end(refusing) as app:
        assert (await app.call("app.info"))["permissions"] == ["example.org:80", "clipboard"]
        with pytest.raises(Denied):
            await app.call("notify", title="a", app=B.hex(), key=B.hex(), app_key=B.hex())
        with pytest.raises(Denied):
            await app.call("net.open", host="example.com", port=443)


async def test_an_old_version_that_runs_on_gets_no_more_than_it_asked_for(beside: Beside) -> None:
    old = beside.known.add(A, {})
    beside.known.add(A, WIDE)  # the person approved a wider release meanwhile
    async with beside.end(old) as app:
        with pytest.raises(Denied):
            await app.call("notify", title="a", body="b")


async def test_a_revoked_permission_is_denied_at_once_and_every_instance_is_told(beside: Beside) -> None:
    start = beside.known.add(A, WIDE)
    async with beside.end(start) as app:
        with pytest.raises(Denied, match="terminal"):
            await app.call("notify", title="a", body="b")
        assert beside.live.revoke(A, ["notify"]) == ["notify"]
        assert await app.read() == {"event": "permission-revoked", "permission": "notify"}
        with pytest.raises(Denied, match="permission notify"):
            await app.call("notify", title="a", body="b")
        assert beside.live.revoke(A, []) == ["example.com:443", "example.org:80", "clipboard"]
        for _ in range(3):
            assert (await app.read())["event"] == "permission-revoked"
        assert (await app.call("app.info"))["permissions"] == []
        with pytest.raises(Denied):
            beside.live.revoke(A, [])


async def test_an_app_hears_what_is_taken_back(beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    start = beside.known.add(A, WIDE)
    async with beside.sdk(start, monkeypatch):
        first = asyncio.create_task(anext(aio.app.events()))  # type: ignore[arg-type]
        second = asyncio.create_task(asyncio.to_thread(next, sdk.app.events()))
        while len(sdk_channel.channel()._listeners) < 2:
            await asyncio.sleep(0)
        beside.live.revoke(A, ["notify"])
        event = {"event": "permission-revoked", "permission": "notify"}
        assert [await first, await second] == [event, event]


async def test_the_person_is_asked_before_a_page_is_opened_and_no_is_no(beside: Beside) -> None:
    start = beside.known.add(A)
    async with beside.end(start) as app, beside.attendant(start) as person:
        for said, result in (({"result": True}, {}), ({"result": False}, None)):
            app.send({"id": 1, "method": "open_url", "url": "https://example.com/a?b#c"})
            asked = await person.read()
            assert (asked["method"], asked["url"]) == ("open_url", "https://example.com/a?b#c")
            person.send({"id": asked["id"], **said})
            answer = await app.read()
            assert answer.get("result") == result
            assert ("error" in answer) == (result is None)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "javascript:alert(1)", "ftp://example.com/", "https://", "https:///x",
        "http:example.com",
        "https://user@example.com/", "https://bank.com@evil.com/", "https://example.com\n/",
        "https://exa mple.com/",
        "https://example.com/\x1b[2J", "https://example.com/ü", "https://exämple.com/", "https://127.0.0.1/",
        "https://localhost/", "http://192.168.1.1/reboot", "http://[::1]/", "http://router.lan/",
        "http://printer/",
        "https://example.com:0/", "https://example.com:99999/", "--help", "",
        "https://example.com/" + "a" * 3000,
        "https://example.com\\@evil.com/", "HTTPS://example.com/", 5, None, ["https://example.com"],
        'https://example.com/"', "https://example.com/<", "https://example.com/'", "https://example.com/`id`",
    ],
)  # fmt: skip
async def test_a_page_that_is_none_is_refused_before_anybody_is_asked(beside: Beside, url: Any) -> None:
    start = beside.known.add(A)
    async with beside.end(start) as app, beside.attendant(start):
        with pytest.raises((UserError, LimitExceeded)):
            await app.call("open_url", url=url)


async def test_what_only_the_end_of_an_app_takes_away_ends_it(beside: Beside) -> None:
    start = beside.known.add(A, {"ui": True, "notify": True})
    async with beside.end(start) as app, beside.attendant(start) as person:
        beside.live.revoke(A, ["notify"])
        assert (await app.read())["permission"] == "notify"
        beside.live.revoke(A, ["ui"])
        assert (await app.read())["permission"] == "ui"
        asked = await person.read()
        assert (asked["method"], asked["reason"]) == ("stop", "you took its permission ui back")


async def test_a_second_channel_of_a_run_asks_the_same_person(beside: Beside) -> None:
    start = beside.known.add(A)
    async with beside.end(start), beside.attendant(start) as person, beside.end(start) as page:
        page.send({"id": 1, "method": "open_url", "url": "https://example.com/"})
        asked = await person.read()
        person.send({"id": asked["id"], "result": True})
        assert (await page.read())["result"] == {}
        with pytest.raises(Denied):  # which of them would be started again?
            await page.call("updates.restart")


async def test_a_notification_is_bounded_and_without_escapes(beside: Beside) -> None:
    start = beside.known.add(A, {"notify": True})
    async with beside.end(start) as app, beside.attendant(start) as person:
        app.send({"id": 1, "method": "notify", "title": "a\x1b[31m", "body": "b\n\u202ec"})
        asked = await person.read()
        assert (asked["title"], asked["body"]) == ("a\ufffd[31m", "b | \ufffdc")
        person.send({"id": asked["id"], "error": {"code": "sandbox-unsupported", "message": "no desktop"}})
        assert (await app.read())["error"]["message"] == "no desktop"
        for fields in ({"title": "x" * 201}, {"title": "", "body": "x" * 1001}, {"title": 1}):
            with pytest.raises((UserError, LimitExceeded)):
                await app.call("notify", **fields)


async def test_a_flood_is_refused_where_a_person_stands_behind_it(beside: Beside) -> None:
    start = beside.known.add(A, {"notify": True})
    async with beside.end(start) as app:
        codes = []
        for _ in range(20):
            with pytest.raises(PearrtError) as caught:
                await app.call("notify", title="a", body="b")
            codes.append(caught.value.code)
        assert codes.count("denied") == app_calls.REFUSING_RATES["notify"].burst
        assert codes.count("limit-exceeded") == 20 - codes.count("denied")


async def test_a_flood_of_calls_slows_its_app_and_no_other(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_calls, "ANY_CALL", Rate(per_s=0.001, burst=20))
    flooding, other = beside.known.add(A), beside.known.add(B)
    async with beside.end(flooding) as app, beside.end(flooding) as again, beside.end(other) as calm:
        for number in range(500):
            app.send({"id": number, "method": "app.info"})
        for _ in range(20):
            await app.read()
        again.send({"id": 1, "method": "app.info"})  # the rate is the app's, whatever the instance
        for number in range(10):
            assert (await calm.call("app.info"))["version"] == "1.0", number
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await again.read()
        assert len(beside.channels._tasks) < 20


async def test_the_log_is_one_line_an_entry_and_bounded(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = beside.known.add(A)
    folder = beside.known.known(A).folder
    async with beside.end(start) as app:
        await app.call("log.write", level="info", text="2026-01-01T00:00:00Z error forged\nnext\x1b]0;x\x07")
        [entry] = folder.log.read_text().splitlines()
        assert entry.split(" ", 2)[1:] == ["info", "2026-01-01T00:00:00Z error forged | next\ufffd]0;x\ufffd"]
        for fields in ({"level": "rude", "text": ""}, {"level": "info", "text": 1}, {"text": "x" * 5000}):
            with pytest.raises((UserError, LimitExceeded)):
                await app.call("log.write", **fields)
        monkeypatch.setattr(app_log, "MAX_BYTES", 1000)
        for _ in range(30):
            await app.call("log.write", level="info", text="y" * 100)
    sizes = [folder.log.stat().st_size, (folder.root / "app.log.1").stat().st_size]
    assert all(size < 1300 for size in sizes)


async def test_a_link_in_the_logs_place_is_not_followed_into_the_app(beside: Beside) -> None:
    """The app cannot write there; `/data` is another folder."""
    folder = beside.known.known if beside.known.add(A) else None
    assert folder is not None
    assert folder(A).folder.log.parent == folder(A).folder.data.parent


async def test_strange_fields_are_errors_of_the_caller_and_never_ours(
    beside: Beside, caplog: pytest.LogCaptureFixture
) -> None:
    start = beside.known.add(A, WIDE)
    strange: list[Any] = [
        None,
        True,
        -1,
        2**70,
        1.5,
        "",
        "x" * 9000,
        [],
        {},
        [[1]],
        {"a": {"b": 1}},
        "\ud800",
        "\0",
    ]
    names = ["protocol", "level", "text", "url", "title", "body", "host", "port", "event", "result", "socket"]
    names += ["circle", "purpose", "mode", "name"]
    methods = sorted(app_calls.AppCalls(beside.known)._methods)  # type: ignore[arg-type]
    methods = [m for m in methods if m not in ("storage.info", "clipboard.read", "clipboard.write")]
    draw = random.Random(5)
    async with beside.end(start) as app, beside.attendant(start) as person:
        del person
        for number in range(300):
            fields = {name: draw.choice(strange) for name in draw.sample(names, 4)}
            method = draw.choice([*methods, "", "app", "__init__", "_info"])
            if method in ("updates.restart", "notify", "open_url"):
                fields.pop("url", None)
            app.send({"id": number, "method": method, **fields})
            if method in ("updates.restart", "notify"):
                break
            answer = await app.read()
            if "error" in answer:
                assert answer["error"]["code"] in ("user-error", "denied", "limit-exceeded"), answer
    assert "our own bug" not in caplog.text


async def test_a_frame_of_random_bytes_ends_the_channel_or_is_answered(beside: Beside) -> None:
    start, draw = beside.known.add(A), random.Random(7)
    for _ in range(60):
        body = draw.randbytes(draw.randrange(200))
        if draw.random() < 0.5:
            text = json.dumps({"id": 1, "method": "app.info", "x": list(body[:20])})
            body = bytearray(text.encode())  # type: ignore[assignment]
            body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)  # type: ignore[index]
        async with beside.end(start) as app:
            app.writer.write(len(body).to_bytes(4) + bytes(body))
            app.writer.write_eof()
            rest = await app.reader.read()
            assert len(rest) < MAX_FRAME_BYTES
    assert beside.channels.running(A) == 0


async def test_starting_an_app_ends_its_news(beside: Beside) -> None:
    start = beside.known.add(A)
    folder = beside.known.known(A).folder
    folder.news = News("0.9", "cd" * 32, "1.0")
    async with beside.end(start):
        assert folder.news is None


def test_a_bucket_gives_a_burst_and_then_a_rate() -> None:
    bucket = Bucket(Rate(per_s=2, burst=3))
    assert [bucket.take(100.0) for _ in range(3)] == [0, 0, 0]
    assert bucket.take(100.0) == 0.5
    assert bucket.take(100.25) == 0.25
    assert bucket.take(100.5) == 0
    assert bucket.take(90.0) > 0  # a clock that falls gives nothing
    assert [bucket.take(10_000.0) for _ in range(4)] == [0, 0, 0, 0.5]

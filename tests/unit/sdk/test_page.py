"""A web app's backend and its page, over the real bridge."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pearrt import sdk
from pearrt.sdk import aio, page
from pearrt.web.bridge import Bridge

Ask = Callable[..., Any]


def add(text: str, times: int = 1) -> str:
    if not text:
        raise sdk.Error("A note has a text.", code="bad-note", hint="Write one.")
    if text == "bug":
        raise ZeroDivisionError
    return text * times


@pytest.fixture
async def bridge(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bridge]:
    """The page's side; this process is the backend."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(page, "_page", page.Page(theirs))
    with theirs:
        async with Bridge(ours, "backend") as bridge:
            yield bridge


@pytest.fixture(params=["threads", "asyncio"])
async def served(bridge: Bridge, request: pytest.FixtureRequest) -> AsyncIterator[Bridge]:
    """With a backend of either kind, whose end is the bridge's."""
    methods: dict[str, Any] = {"add": add, "list": list}
    if request.param == "threads":
        serving = asyncio.create_task(asyncio.to_thread(page.serve, methods))
    else:
        serving = asyncio.create_task(aio.page.serve({**methods, "add": as_coroutine}))
    yield bridge
    bridge._writer.close()
    await asyncio.wait_for(serving, 5)


async def as_coroutine(text: str, times: int = 1) -> str:
    await asyncio.sleep(0)
    return add(text, times)


async def test_a_call_is_a_function_call_by_names(served: Bridge) -> None:
    assert await served.call("add", {"text": "x", "times": 3}) == {"result": "xxx"}
    assert await served.call("list", {}) == {"result": []}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("add", {"text": ""}, "bad-note"),
        ("add", {}, "bad-call"),
        ("add", {"text": "x", "self": 1}, "bad-call"),
        ("__class__", {}, "bad-call"),
        ("add", {"text": "x", "times": 100_000}, "limit-exceeded"),
    ],
)
async def test_what_cannot_be_answered_is_an_error_that_says_why(
    served: Bridge, method: str, params: dict[str, Any], code: str
) -> None:
    answer = await served.call(method, params)
    assert (answer["error"]["code"], bool(answer["error"]["message"])) == (code, True)
    assert await served.call("add", {"text": "still here"}) == {"result": "still here"}


async def test_a_bug_is_shown_on_the_terminal_and_told_to_nobody_else(
    served: Bridge, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await served.call("add", {"text": "bug"})
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert "Zero" not in str(answer["error"])
    assert await served.call("add", {"text": "still here"}) == {"result": "still here"}


async def test_events_are_told_from_any_thread_and_are_never_answers(bridge: Bridge) -> None:
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    with bridge.heard_by(heard):
        threading.Thread(target=page.tell, args=[{"notes": ["a"], "id": 1}]).start()
        assert await asyncio.wait_for(heard.get(), 5) == {"from": "backend", "event": {"notes": ["a"]}}
    with pytest.raises(sdk.Error):
        page.tell({"notes": object()})


def test_an_app_without_a_page_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEARRT_PAGE_FD", raising=False)
    monkeypatch.setattr(page, "_page", None)
    with pytest.raises(sdk.NotConnected, match="no page"):
        page.serve({})


FORKED = """
import os, socket
from pearrt import sdk
ours, theirs = socket.socketpair()
os.environ["PEARRT_PAGE_FD"] = str(theirs.detach())
sdk.page.tell({"from": "parent"})
pid = os.fork()
if pid == 0:
    try:
        sdk.page.tell({"from": "child"})
    except sdk.NotConnected as e:
        os._exit(0 if "another process" in e.message and e.hint else 2)
    os._exit(1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_forked_process_does_not_write_into_the_pages_stream() -> None:
    assert subprocess.run([sys.executable, "-c", FORKED], check=False).returncode == 0


def test_a_child_process_is_told_where_the_page_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEARRT_PAGE_FD", "1000000")  # as inherited: closed
    monkeypatch.setattr(page, "_page", None)
    with pytest.raises(sdk.NotConnected, match="another process"):
        page.tell({})

"""Requests passed on to an app that serves its page itself, where the app is the hostile one."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pearrt.web.service import Page, PageServer
from tests.support.browser import Answer, Browser


class App(threading.Thread):
    """Answers every request on the socket with the same bytes, and keeps what it was sent."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.answer = b""
        self.heard: list[bytes] = []
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection:
                    self.heard.append(self._request(connection))
                    connection.sendall(self.answer)

    @staticmethod
    def _request(connection: socket.socket) -> bytes:
        said = b""
        while b"\r\n\r\n" not in said or (b"Content-Length: 5" in said and not said.endswith(b"hello")):
            if not (part := connection.recv(65536)):
                break
            said += part
        return said

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join(10)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    with contextlib.closing(App(tmp_path / "page.sock")) as app:
        yield app


@pytest.fixture
def browser(app: App, tmp_path: Path) -> Iterator[Browser]:
    with PageServer(Page(forward=tmp_path / "page.sock")) as server:
        browser = Browser(server.url)
        assert browser.enter().status == 303
        yield browser


def answering(app: App, *headers: str, body: bytes = b"page", status: str = "200 OK") -> None:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    app.answer = "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_the_page_is_passed_on_with_our_policy_beside_its_own(app: App, browser: Browser) -> None:
    answering(app, "Content-Type: text/html", "Content-Security-Policy: default-src *", "X-Frame-Options: x")
    answer = browser.get("/a/b?c=d%20e")
    assert (answer.status, answer.body) == (200, b"page")
    assert app.heard[0].startswith(b"GET /a/b?c=d%20e HTTP/1.1\r\n")
    policies = answer.headers.get_all("Content-Security-Policy")
    assert policies[0] == "default-src *"
    assert policies[1].startswith("default-src 'none'")  # a browser holds a page to both
    assert answer.headers.get_all("X-Frame-Options") == ["SAMEORIGIN"]


def test_the_sessions_cookie_is_kept_from_the_app(app: App, browser: Browser) -> None:
    answering(app)
    browser.get("/", Cookie=f"mine=1; {browser.cookie}; other=2")
    assert b"mine=1; other=2" in app.heard[0]
    assert browser.cookie.partition("=")[2].encode() not in app.heard[0]


def test_nobody_but_the_page_reaches_the_app(app: App, browser: Browser) -> None:
    answering(app)
    refused: list[Answer] = [
        browser.ask("GET", "/"),
        browser.get("/", Sec_Fetch_Site="cross-site"),
        browser.get("/", Host="evil.example"),
        browser.ask("POST", "/", b"hello", Cookie=browser.cookie),
        browser.ask("POST", "/", b"hello", Cookie=browser.cookie, Origin="http://evil.example"),
        browser.get("/", Upgrade="websocket", Connection="Upgrade"),
    ]
    assert {answer.status for answer in refused} <= {403, 405}
    assert app.heard == []


def test_a_form_of_the_page_reaches_the_app(app: App, browser: Browser) -> None:
    answering(app, status="201 Created")
    answer = browser.ask("POST", "/add", b"hello", Cookie=browser.cookie, Origin=browser.origin)
    assert answer.status == 201
    assert app.heard[0].startswith(b"POST /add ")
    assert app.heard[0].endswith(b"hello")


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example/", "https://evil.example/", "//evil.example/", "/\\evil.example",
        "\\\\evil.example", "javascript:alert(1)", "data:text/html,x", "http://localhost:80/",
    ],
)  # fmt: skip
def test_the_app_cannot_send_the_browser_elsewhere(app: App, browser: Browser, location: str) -> None:
    answering(app, f"Location: {location}", status="302 Found")
    answer = browser.get("/")
    assert answer.status == 502
    assert answer.headers["Location"] is None


@pytest.mark.parametrize("location", ["/there", "there?a=b:c", "?x", ""])
def test_the_app_can_send_the_browser_on_within_its_page(app: App, browser: Browser, location: str) -> None:
    answering(app, f"Location: {location}", status="302 Found")
    assert browser.get("/").status == 302


def test_cookies_for_others_and_lasting_settings_are_dropped(app: App, browser: Browser) -> None:
    answering(
        app,
        "Set-Cookie: pearrt=stolen",
        "Set-Cookie: a=b; Domain=localhost",
        "Set-Cookie: good=1; Path=/",
        "Strict-Transport-Security: max-age=1",
        "Clear-Site-Data: *",
        "Service-Worker-Allowed: /",
        "Alt-Svc: h2=evil.example",
    )
    headers = browser.get("/").headers
    assert headers.get_all("Set-Cookie") == ["good=1; Path=/"]
    for name in ("Strict-Transport-Security", "Clear-Site-Data", "Service-Worker-Allowed", "Alt-Svc"):
        assert headers[name] is None


@pytest.mark.parametrize(
    "answer", [b"", b"rubbish\r\n\r\n", b"HTTP/1.1 999999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-"]
)
def test_an_app_that_answers_rubbish_is_a_bad_gateway(app: App, browser: Browser, answer: bytes) -> None:
    app.answer = answer
    assert browser.get("/").status == 502


def test_an_answer_that_breaks_off_is_seen_to_be_short(app: App, browser: Browser) -> None:
    import http.client

    app.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"
    with pytest.raises((http.client.IncompleteRead, ConnectionError, http.client.BadStatusLine)):
        browser.get("/")
    answering(app)
    assert browser.get("/").body == b"page"

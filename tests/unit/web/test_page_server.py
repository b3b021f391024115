"""The page's server, spoken to as browsers, other pages, other programs and hostile clients would."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pearrt.sdk import frames
from pearrt.web.service import MAX_CONNECTIONS, Page, PageServer
from pearrt.web.site import SignedFile, Site
from tests.support.browser import Browser
from tests.support.machine import wait_for

FILES = {"web/index.html": b"<p>hello", "web/app.js": b"1;\n" * 200_000, "secret.py": b"SECRET"}


class Answering(threading.Thread):
    """The other end of a bridge: `echo` is answered with its text, `events` with an event."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(daemon=True)
        self.end = end
        self.heard: list[dict[str, Any]] = []
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):  # closed by the test
            self._answer()

    def _answer(self) -> None:
        decoder = frames.Decoder()
        while data := self.end.recv(65536):
            for call in decoder.feed(data):
                self.heard.append(call)
                if call["method"] == "echo":
                    self.end.sendall(frames.encode({"id": call["id"], "result": call["text"]}))
                elif call["method"] == "events":
                    self.end.sendall(frames.encode({"event": "told", "id": None}))
                    self.end.sendall(frames.encode({"id": call["id"], "result": None}))
                elif call["method"] == "fail":
                    self.end.sendall(
                        frames.encode({"id": call["id"], "error": {"code": "c", "message": "m"}})
                    )
                elif call["method"] == "end":
                    self.end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "web" / "unsigned.txt").write_text("not in the index")
    return tmp_path


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[PageServer, Answering]]:
    signed = [SignedFile(name, len(data), hashlib.sha256(data).digest()) for name, data in FILES.items()]
    ours, theirs = socket.socketpair()
    channel, _daemon = socket.socketpair()
    with theirs, _daemon:
        page = Page(Site(signed, "web/index.html"), folder, channel=channel, backend=ours)
        with PageServer(page) as server:
            yield server, Answering(theirs)


@pytest.fixture
def server(folder: Path) -> Iterator[PageServer]:
    with serving(folder) as (server, _):
        yield server


@pytest.fixture
def browser(server: PageServer) -> Browser:
    entered = Browser(server.url)
    assert entered.enter().status == 303
    return entered


def test_the_address_works_once_and_gives_the_page(server: PageServer) -> None:
    browser = Browser(server.url)
    first = browser.enter()
    assert (first.status, first.headers["Location"]) == (303, "/")
    assert browser.get("/").body == FILES["web/index.html"]
    assert browser.get("/app.js").body == FILES["web/app.js"]
    second = Browser(f"{browser.origin}{browser.path}")
    assert second.enter().status == 403
    assert second.cookie == ""


@pytest.mark.parametrize(
    "path", ["/", "/app.js", "/nothing", "/.pearrt/bridge.js", "/.pearrt/events", "/%00"]
)
def test_without_the_cookie_everything_reads_the_same(server: PageServer, path: str) -> None:
    answer = Browser(server.url).ask("GET", path)
    assert (answer.status, answer.body) == (403, b"Not for you.\n")


def test_a_rebound_name_reaches_nothing_even_with_the_token(server: PageServer) -> None:
    browser = Browser(server.url)
    for host in ("evil.example", f"127.0.0.1:{browser.port}", f"localhost:{browser.port}"):
        assert browser.ask("GET", browser.path, Host=host).status == 403
    assert browser.enter().status == 303  # the token is still good


def test_another_pages_request_is_refused_although_the_browser_adds_the_cookie(browser: Browser) -> None:
    evil = "http://evil.example"
    assert browser.get("/", Sec_Fetch_Site="cross-site").status == 403
    assert browser.get("/", Sec_Fetch_Site="same-site").status == 403
    assert browser.get("/", Origin=evil).status == 403
    for headers in ({"Origin": evil}, {"Origin": ""}, {"Sec_Fetch_Site": "cross-site"}):
        assert browser.post("/.pearrt/ask", {"method": "echo"}, **headers).status == 403


def test_a_form_of_another_page_cannot_spell_a_call(browser: Browser) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = browser.post("/.pearrt/ask", {"method": "echo"}, Content_Type=kind)
        assert "error" in json.loads(answer.body)


def test_only_signed_files_below_the_pages_folder_are_served(browser: Browser) -> None:
    for path in ("/unsigned.txt", "/secret.py", "/../secret.py", "/%2e%2e/secret.py", "/web/", "/."):
        assert browser.get(path).status == 404, path


def test_a_file_changed_on_disk_is_not_served(browser: Browser, folder: Path) -> None:
    (folder / "web" / "index.html").write_bytes(b"<p>evil!")
    answer = browser.get("/")
    assert answer.status == 500
    assert b"evil" not in answer.body
    large = bytearray(FILES["web/app.js"])
    large[-2] ^= 1
    (folder / "web" / "app.js").write_bytes(large)
    with pytest.raises((OSError, Exception)) as caught:
        browser.get("/app.js")
    assert type(caught.value).__name__ in ("IncompleteRead", "ConnectionResetError")


def test_what_the_browser_has_is_not_sent_again(browser: Browser) -> None:
    tag = browser.get("/").headers["ETag"]
    assert tag == f'"{hashlib.sha256(FILES["web/index.html"]).hexdigest()}"'
    again = browser.get("/", If_None_Match=tag)
    assert (again.status, again.body) == (304, b"")
    head = browser.ask("HEAD", "/", Cookie=browser.cookie)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "8")


def test_every_answer_carries_the_policy(browser: Browser) -> None:
    for path in ("/", "/nothing", "/.pearrt/bridge.js"):
        headers = browser.get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"])
def test_files_are_read_and_nothing_else(browser: Browser, method: str) -> None:
    answer = browser.ask(method, "/", Cookie=browser.cookie, Origin=browser.origin)
    assert answer.status in (400, 403, 405)


def test_the_page_asks_its_backend_and_hears_it(folder: Path) -> None:
    with serving(folder) as (server, backend):
        browser = Browser(server.url)
        browser.enter()
        assert browser.call("/.pearrt/ask", "echo", text="hi") == "hi"
        assert {**backend.heard[0], "id": 1} == {"id": 1, "method": "echo", "text": "hi"}
        answer = json.loads(browser.post("/.pearrt/ask", {"method": "fail"}).body)
        assert answer == {"error": {"code": "c", "message": "m"}}
        with events(browser) as stream:
            browser.call("/.pearrt/ask", "events")
            assert json.loads(stream.readline().removeprefix(b"data: ")) == {
                "from": "backend",
                "event": {"event": "told", "id": None},
            }


@contextlib.contextmanager
def events(browser: Browser) -> Iterator[Any]:
    """The event stream, after its greeting."""
    connection = http.client.HTTPConnection("127.0.0.1", browser.port, timeout=10)
    connection.request("GET", "/.pearrt/events", headers={"Host": browser.host, "Cookie": browser.cookie})
    stream = connection.getresponse()
    assert (stream.readline(), stream.readline()) == (b": open\n", b"\n")
    yield stream
    connection.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"[" * 30_000,
        b'{"method": 1}',
        b'{"method": "echo", "params": []}',
        b'{"method": "echo", "params": {"id": 7}}',
        b'{"method": "echo", "params": {"method": "other"}}',
        b'{"method": "echo", "other": 1}',
        b'{"method": "echo", "params": {"text": "' + b"x" * 70_000 + b'"}}',
        b"\xff\xfe",
        b'{"params": {}}',
    ],
)
def test_a_call_that_is_none_is_an_error_and_reaches_nobody(folder: Path, body: bytes) -> None:
    with serving(folder) as (server, backend):
        browser = Browser(server.url)
        browser.enter()
        headers = {"Cookie": browser.cookie, "Origin": browser.origin, "Content_Type": "application/json"}
        answer = browser.ask("POST", "/.pearrt/ask", body, **headers)
        assert json.loads(answer.body)["error"]["code"] == "user-error"
        assert backend.heard == []
        assert browser.call("/.pearrt/ask", "echo", text="still there") == "still there"


def test_a_backend_that_ends_or_talks_rubbish_is_an_error_not_a_wait(folder: Path) -> None:
    with serving(folder) as (server, backend):
        browser = Browser(server.url)
        browser.enter()
        answer = json.loads(browser.post("/.pearrt/ask", {"method": "end"}).body)
        assert answer["error"]["code"] == "unreachable"
        answer = json.loads(browser.post("/.pearrt/ask", {"method": "echo", "params": {"text": 1}}).body)
        assert answer["error"]["code"] == "unreachable"
        assert browser.get("/").status == 200
    del backend


def test_a_thousand_idle_connections_are_bounded_and_harmless(browser: Browser) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(MAX_CONNECTIONS + 100):
            held.enter_context(socket.create_connection(("127.0.0.1", browser.port), 10))
        refused = held.enter_context(socket.create_connection(("127.0.0.1", browser.port), 10))
        with contextlib.suppress(ConnectionResetError):
            assert refused.recv(1) == b""

    def answers_again() -> bool:
        with contextlib.suppress(OSError, http.client.BadStatusLine):
            return browser.get("/").status == 200
        return False

    wait_for(answers_again, "the server to see that they are gone", 10)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x00\xa5",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzz\r\n",
        b"\x00" * 100,
    ],
)
def test_bytes_that_are_no_http_end_their_connection_only(browser: Browser, raw: bytes) -> None:
    with (
        socket.create_connection(("127.0.0.1", browser.port), 10) as connection,
        contextlib.suppress(OSError),
    ):
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert browser.get("/").status == 200


def test_both_loopback_addresses_are_the_servers_own(browser: Browser) -> None:
    """Else another user could answer on the one that a browser tries first."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("not applicable: this machine has no ::1")
    answer = browser.ask("GET", "/", address="::1", Cookie=browser.cookie)
    assert answer.status == 200
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.2", browser.port))  # free: the server is not on all addresses

"""The ceremony's commands with the link of a release room, against a daemon that holds what it is given."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from pearrt.cli.options import Network
from pearrt.errors import NoPeers, PearrtError, Unreachable, UserError
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.publish.desk import Desk as DeskFolder
from pearrt.publish.request import Request
from pearrt.publish.room import Room, seal
from tests.unit.cli.test_release import Desk

SECRET = b"0123456789abcdef"


class FakeDaemon:
    """What a daemon would have the peers and the DHT hold."""

    def __init__(self) -> None:
        self.posts: dict[bytes, bytes] = {}
        self.blocks: dict[bytes, bytes] = {}
        self.error: PearrtError | None = None
        self.looks = 0

    def enter(self, link: Link) -> bytes:
        block = self.blocks.get(Room.parse(link).block)
        if block is None:
            raise NoPeers("Nobody was found who has the request of this release room.")
        return block

    def offer(self, link: Link, *, rooms_only: bool = False) -> list[str]:
        return []

    def post(self, link: Link, *, key: bytes, seq: int, value: bytes, signature: bytes) -> int:
        if self.error is not None:
            raise self.error
        self.posts[key] = value
        return 8

    def gather(self, link: Link, signers: Collection[bytes]) -> list[tuple[bytes, bytes]]:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return [(key, value) for key, value in self.posts.items() if key in signers]


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    daemon = FakeDaemon()
    monkeypatch.setattr(Network, "daemon", lambda _: daemon)
    return daemon


@pytest.fixture
def desk(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, daemon: FakeDaemon) -> Desk:
    monkeypatch.setenv("PEARRT_HOME", str(home.data))
    monkeypatch.chdir(tmp_path)
    return Desk(home, tmp_path)


@pytest.fixture
def request_(desk: Desk) -> Request:
    keys = ("--key", "alice", "--key", "bob", "--password-file", desk.password)
    desk.run("app", "new", "--signers", "alice,bob,carol", "--threshold", "2", *keys)
    return Request.decode(desk.release_request().read_bytes())


@pytest.fixture
def link(request_: Request, daemon: FakeDaemon) -> str:
    """The room of a release, which this machine knows by its link alone."""
    room = Room.of(request_, SECRET)
    daemon.blocks[room.block] = seal(request_, SECRET)
    return str(Link(request_.app_key, fragment=room.fragment))


def sign(desk: Desk, link: str, name: str, *options: str, code: int = 0) -> Any:
    how = ("--key", name, "--password-file", desk.password)
    return desk.run("release", "sign", link, *how, *options, code=code)


def test_a_link_stands_where_a_file_does(desk: Desk, link: str, request_: Request) -> None:
    reviewed = desk.run("release", "review", link)
    assert reviewed["digest"] == request_.digest.hex()
    signed = sign(desk, link, "alice", "--post")
    assert (signed["posted"], signed["file"]) == (8, None)
    assert not list(desk.folder.glob("*.answer")) or signed["fingerprint"] == reviewed["fingerprint"]
    (status,) = desk.run("release", "status", link)
    assert status["signatures"] == "1 of 2, waiting for bob or carol"
    assert (status["gathered"], status["refused"], status["room"]) == (["alice"], [], link)
    (again,) = desk.run("release", "status")
    assert again["signatures"] == status["signatures"]
    assert link in desk.run("release", "status", as_json=False).stdout


def test_without_a_yes_the_answer_is_a_file_and_a_line(desk: Desk, link: str, daemon: FakeDaemon) -> None:
    desk.run("release", "review", link)
    signed = sign(desk, link, "alice")
    assert Path(signed["file"]).read_text().strip() == signed["answer"]
    assert (signed["posted"], daemon.posts) == (0, {})
    combined = desk.run("release", "combine", link, signed["answer"])
    assert combined["signatures"] == "1 of 2, waiting for bob or carol"
    assert combined["file"] is None
    desk.run("release", "combine", link, signed["file"])  # what came already may come by hand too


def test_an_answer_that_cannot_be_posted_is_not_lost(desk: Desk, link: str, daemon: FakeDaemon) -> None:
    desk.run("release", "review", link)
    daemon.error = Unreachable("No node of the DHT took the answer.")
    error = sign(desk, link, "alice", "--post", code=5)
    line = error["hint"].partition("by hand: ")[2]
    daemon.error = None
    combined = desk.run("release", "combine", link, line)
    assert combined["signatures"] == "1 of 2, waiting for bob or carol"
    request = Room.parse(Link.parse(link))
    folder = DeskFolder.of(desk.home.ceremonies, request.app_key)
    (found,) = folder.rooms()
    assert [item.verifies() for item in folder.posts(found.request)] == [True]


def test_by_hand_it_goes_on_where_there_is_no_dht(desk: Desk, link: str, daemon: FakeDaemon) -> None:
    desk.run("release", "review", link)
    alice, bob = (sign(desk, link, name, "-o", f"{name}.txt")["answer"] for name in ("alice", "bob"))
    daemon.error = UserError("The DHT is off on this machine.")
    assert "DHT is off" in desk.run("release", "combine", link, code=2)["message"]
    assert "DHT is off" in desk.run("release", "commit", link, alice, "--wait", code=2)["message"]
    assert desk.run("release", "combine", link, alice)["gathered"] == []
    assert desk.run("release", "combine", link, bob)["complete"]


def test_a_wait_tells_each_change_and_ends_with_the_threshold(
    desk: Desk, link: str, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run("release", "review", link)
    for name in ("alice", "bob"):
        sign(desk, link, name, "--post")
    later, daemon.posts = list(daemon.posts.items()), {}
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) in (3, 40):
            daemon.posts |= dict([later.pop(0)])

    monkeypatch.setattr("pearrt.cli.release.room.time.sleep", sleep)
    done = desk.run("release", "combine", link, "--wait", as_json=False)
    assert done.stdout.strip() == "2 of 2"
    told = [line for line in done.stderr.splitlines() if " of 2" in line]
    assert told[0].startswith("0 of 2, waiting for 2 of")
    assert told[1].startswith("1 of 2, waiting for")
    assert len(told) == 2
    assert (slept[0], max(slept)) == (2.0, 30.0)


def test_an_interrupted_wait_keeps_what_came(
    desk: Desk, link: str, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run("release", "review", link)
    sign(desk, link, "alice", "--post")

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pearrt.cli.release.room.time.sleep", interrupted)
    done = desk.run("release", "commit", link, "--wait", code=130, as_json=False)
    assert "interrupted" in done.stderr
    assert desk.run("release", "status")[0]["signatures"] == "1 of 2, waiting for bob or carol"


def test_a_wait_does_not_undo_what_another_command_added_meanwhile(
    desk: Desk, link: str, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run("release", "review", link)
    bob = sign(desk, link, "bob", "-o", "bob.txt")["answer"]
    sign(desk, link, "alice", "--post")
    posts, daemon.posts = daemon.posts, {}

    def meanwhile(_: float) -> None:
        desk.run("release", "combine", link, bob)
        daemon.posts = posts

    monkeypatch.setattr("pearrt.cli.release.room.time.sleep", meanwhile)
    assert desk.run("release", "combine", link, "--wait")["complete"]


def test_a_wait_and_a_post_want_a_room(desk: Desk, request_: Request) -> None:
    path = desk.folder / "hello.request"
    for words in (("combine", path, "x", "--wait"), ("commit", path, "--wait"), ("status", path, "--wait")):
        desk.run("release", *words, code=2)
    desk.run("release", "review", path)
    assert "release room" in sign(desk, str(path), "alice", "--post", code=2)["message"]
    assert "no answer to add" in desk.run("release", "combine", path, code=2)["message"]


def test_a_link_that_is_none_of_a_room_is_refused_at_once(desk: Desk, link: str) -> None:
    app = link.partition("#")[0]
    for wrong in (app, link[:-1], link.replace("#request", "#chapter"), link[:20]):
        for command in ("review", "sign", "combine", "commit"):
            done = desk.run("release", command, wrong, code=2, as_json=False)
            assert "link" in done.stderr.lower()
    assert desk.run("release", "status", app) == []  # the app's own link lists its requests
    assert desk.run("release", "status", link[:-1], code=2)["code"] == "bad-link"


def test_a_room_that_nobody_holds_open_says_so(desk: Desk, link: str, daemon: FakeDaemon) -> None:
    daemon.blocks = {}
    assert desk.run("release", "review", link, code=5)["code"] == "no-peers"


def test_a_long_link_is_no_file_name(desk: Desk, link: str) -> None:
    nodes = "&".join(f"node=a-node-with-a-long-name-{number}.example.org:6881" for number in range(8))
    assert desk.run("release", "status", link.replace("#", f"?{nodes}#"))[0]["state"] == "open"


def test_a_request_that_came_as_a_file_is_in_the_room_once_the_link_is_used(
    desk: Desk, link: str, request_: Request
) -> None:
    folder = DeskFolder.of(desk.home.ceremonies, request_.app_key)
    desk.run("release", "review", desk.folder / "hello.request")
    assert folder.rooms() == []
    desk.run("release", "review", link)
    assert [each.ours for each in folder.rooms()] == [False]

"""The ceremony's commands, with everything on one machine and no daemon: what they ask, refuse and write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pearrt.app.drafting import Terms, draft_release
from pearrt.app.stage import _stage
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.cli.main import cli
from pearrt.cli.release.request_file import describe
from pearrt.cli.release.terms import parse_rollout
from pearrt.crypto.keyfile import Argon2Cost, unlock
from pearrt.errors import UserError
from pearrt.paths import Home
from pearrt.publish.ceremony import collect
from pearrt.publish.commit import commit
from pearrt.publish.desk import Desk as DeskFolder
from pearrt.publish.keys import new_key
from pearrt.publish.request import Request
from pearrt.publish.signers import SeedKey, answer
from pearrt.store.service import Store
from tests.support.team import write_app
from tests.unit.publish.conftest import NOW

PASSWORD = "test password"
CHEAP = Argon2Cost(ops=1, memory_bytes=8192)
NAMES = ("alice", "bob", "carol")


class Desk:
    """A home where three people sign, and the commands that they run."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.folder = folder
        home.prepare()
        for name in NAMES:
            new_key(home.keys, name, PASSWORD, cost=CHEAP)
        self.password = folder / "password"
        self.password.write_text(PASSWORD)

    def run(self, *args: str | Path, code: int = 0, as_json: bool = True) -> Any:
        extra = ["--json"] if as_json else []
        done = CliRunner().invoke(cli, [*map(str, args), *extra])
        assert done.exit_code == code, done.output + done.stderr
        if not as_json:
            return done
        return json.loads(done.stdout)["result" if code == 0 else "error"]

    def sign(self, path: Path, name: str, *options: str, code: int = 0) -> Any:
        how = ("--key", name, "--password-file", self.password, "-o", self.folder / f"{name}.answer")
        return self.run("release", "sign", path, *how, *options, code=code)

    def new_app(self) -> str:
        path = self.folder / "app.request"
        made = self.run("app", "new", "--signers", ",".join(NAMES), "--threshold", "2", "-o", path)
        self.run("release", "review", path)
        answers = [self.sign(path, name)["answer"] for name in ("alice", "bob")]
        assert self.run("release", "commit", path, *answers)["committed"]
        return str(made["link"])

    def release_request(self) -> Path:
        """As `release request` writes it, without the daemon that would serve the bundle."""
        from pearrt.link import Link
        from pearrt.publish.publication import Publication, publications

        (folder,) = publications(self.home.publishing)
        trusted = Publication.open(folder).trusted
        tree = write_app(self.folder / "tree", "one")
        manifest = Manifest(name="hello", version="1.0", entry=Entry.parse("hello:main"))
        with Store(self.home.store) as store:
            digest = _stage(tree, manifest, store, self.home, lambda _: None)["digest"]
        request = Request.of(trusted, draft_release(trusted, self.home, [digest], Terms(), NOW))
        assert describe(request)["link"] == str(Link(trusted.app_key))
        path = self.folder / "hello.request"
        path.write_bytes(request.encode())
        return path


@pytest.fixture
def desk(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("PEARRT_HOME", str(home.data))
    return Desk(home, tmp_path)


@pytest.fixture
def path(desk: Desk) -> Path:
    desk.new_app()
    return desk.release_request()


def test_an_app_is_made_by_a_ceremony_and_says_what_losing_keys_means(desk: Desk) -> None:
    done = desk.run(
        "app", "new", "--signers", ",".join(NAMES), "--threshold", "2", "-o", desk.folder / "x", as_json=False
    )
    assert "If 2 of the 3 keys are lost, nobody can ever release again" in done.stderr
    assert "Whoever steals 2 can release anything" in done.stderr
    link = desk.new_app()
    assert [app["link"] for app in desk.run("app", "list")] == [link]


def test_only_what_was_reviewed_here_is_signed(desk: Desk, path: Path) -> None:
    before = (desk.folder / "alice.answer").read_bytes()
    error = desk.sign(path, "alice", code=2)
    assert "not reviewed on this machine" in error["message"]
    assert (desk.folder / "alice.answer").read_bytes() == before
    desk.run("release", "review", path)
    assert desk.sign(path, "alice")["signer"] == "alice"


def test_blind_wants_the_six_words(desk: Desk, path: Path) -> None:
    assert "no terminal" in desk.sign(path, "alice", "--blind", code=2)["message"]
    assert (
        "not the six words"
        in desk.sign(path, "alice", "--blind", "--words", "a b c d e f", code=2)["message"]
    )
    words = desk.run("release", "status", path)[0]["fingerprint"]
    assert desk.sign(path, "alice", "--blind", "--words", words)["fingerprint"] == words


def test_two_requests_of_one_version_are_not_signed_by_oversight(desk: Desk, path: Path) -> None:
    """Both published would be an equivocation, with this signer's name on it."""
    desk.run("release", "review", path)
    first = desk.sign(path, "alice")
    assert desk.sign(path, "alice")["answer"] == first["answer"], "the same request as often as one likes"
    request = Request.decode(path.read_bytes())
    assert request.base is not None
    digest = request.releases[0].index_digest.hex()
    terms = Terms(version="9")
    other = Request.of(request.base, draft_release(request.base, desk.home, [digest], terms, NOW))
    path.write_bytes(other.encode())
    desk.run("release", "review", path)
    error = desk.sign(path, "alice", code=2)
    assert first["fingerprint"] in error["message"]
    assert desk.sign(path, "alice", "--instead")["fingerprint"] != first["fingerprint"]


def test_combine_says_who_is_awaited_and_refuses_seconds_and_strangers(desk: Desk, path: Path) -> None:
    desk.run("release", "review", path)
    alice, bob = (desk.sign(path, name)["answer"] for name in ("alice", "bob"))
    combined = desk.run("release", "combine", path, alice)
    assert combined["signatures"] == "1 of 2, waiting for bob or carol"
    signed = Path(combined["file"])
    before = signed.read_bytes()
    assert "alice answered already" in desk.run("release", "combine", signed, alice, code=2)["message"]
    assert signed.read_bytes() == before
    new_key(desk.home.keys, "mallory", PASSWORD, cost=CHEAP)
    assert desk.sign(path, "mallory", code=4)["code"] == "bad-signature"
    done = desk.run("release", "combine", signed, desk.folder / "bob.answer")
    assert done["complete"]
    assert desk.run("release", "status", signed)[0]["signatures"] == "2 of 2"
    assert bob


def test_status_knows_what_is_under_way_and_what_is_out_of_date(desk: Desk, path: Path) -> None:
    assert desk.run("release", "status") == []
    desk.run("release", "review", path)
    (status,) = desk.run("release", "status")
    assert (status["state"], status["reviewed"], status["kind"]) == ("open", True, "release")
    mine = Request.decode(path.read_bytes())
    assert mine.base is not None
    digest = mine.releases[0].index_digest.hex()
    rival = Request.of(mine.base, draft_release(mine.base, desk.home, [digest], Terms(version="9"), NOW))
    seeds = [unlock(desk.home.keys / f"{name}.key", PASSWORD) for name in ("alice", "bob")]
    rival = collect(rival, [answer(rival, SeedKey(seed)) for seed in seeds])
    assert commit(rival, desk.home.publishing, DeskFolder.of(desk.home.ceremonies, rival.app_key), NOW)
    (status,) = desk.run("release", "status")
    assert status["state"] == "out of date"
    assert "targets 2 is out already" in status["reason"]
    assert desk.run("release", "status") == [], "what is over is told once"
    assert "out already" in desk.sign(path, "alice", code=2)["message"]
    assert "out already" in desk.run("release", "review", path, code=2)["message"]


def test_without_enough_signatures_nothing_is_published(desk: Desk, path: Path) -> None:
    desk.run("release", "review", path)
    alice = desk.sign(path, "alice")["answer"]
    error = desk.run("release", "commit", path, alice, code=4)
    assert error["code"] == "threshold-not-met"
    assert "waiting for bob or carol" in error["hint"]
    assert desk.run("app", "list")[0]["releases"] == {}


def test_whoever_lacks_the_heartbeat_key_gets_a_file_for_who_has_it(
    desk: Desk, path: Path, new_home: Callable[[], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run("release", "review", path)
    answers = [desk.sign(path, name)["answer"] for name in ("alice", "carol")]
    monkeypatch.setenv("PEARRT_HOME", str(new_home().data))
    complete = desk.folder / "complete"
    done = desk.run("release", "commit", path, *answers, "-o", complete)
    assert not done["committed"]
    assert done["complete"]
    monkeypatch.setenv("PEARRT_HOME", str(desk.home.data))
    assert desk.run("release", "status", complete)[0]["signatures"] == "2 of 2"


@pytest.mark.parametrize(
    "how", [(), ("--key", "alice", "--ssh-agent"), ("--signer", "file2:x"), ("--ssh-agent",)]
)
def test_one_key_is_named_and_can_be_reached(
    desk: Desk, path: Path, how: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    desk.run("release", "review", path)
    assert desk.run("release", "sign", path, *how, code=2)["code"] == "user-error"


def test_garbled_files_are_named(desk: Desk, path: Path) -> None:
    broken = desk.folder / "broken.request"
    broken.write_bytes(path.read_bytes()[:-9])
    for command in ("review", "sign", "commit", "status"):
        error = desk.run("release", command, broken, code=3)
        assert "broken.request" in error["message"]
    (desk.folder / "letter.txt").write_text("Dear all, I agree.")
    assert "letter.txt" in desk.run("release", "combine", path, desk.folder / "letter.txt", code=3)["message"]


def test_a_rollout_is_written_in_steps() -> None:
    steps = parse_rollout("5%, 25%@1d,100@36h", NOW)
    assert [(step.percent, step.at - NOW) for step in steps] == [(5, 0), (25, 86_400), (100, 129_600)]
    assert parse_rollout("", NOW) == ()
    for text in ("5,,6", "a", "5%@1w", "5%@", "-5"):
        with pytest.raises(UserError):
            parse_rollout(text, NOW)

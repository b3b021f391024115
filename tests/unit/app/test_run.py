"""What the person gives by name before a start."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from pearrt.app import run as runs
from pearrt.app.launch import Launchable
from pearrt.app.progress import silent
from pearrt.app.run import MAX_STARTS, STARTS_SPAN_S, Person, check_starts, run
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import Denied, NoSuchApp, UserError
from pearrt.link import Link, encode_key
from pearrt.sandbox.kinds import fault
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.report import Tier

KEY = bytes(32)


def manifest(**permissions: Any) -> Manifest:
    return Manifest("app", "1", Entry(module="app"), permissions=permissions)


class OneApp:
    """A daemon with one installed app."""

    def __init__(self, **fields: Any) -> None:
        self.app = Launchable(
            key_text=encode_key(KEY),
            version="1",
            folder=Path("/app"),
            data=Path("/data"),
            bytecode=Path("/bytecode"),
            manifest=manifest(notify=True, clipboard=True),
            granted=True,
            signers=("ada",),
            signed_by=("ada",),
            threshold=1,
            freshness="fresh",
            confirmed_at=0,
            channel_socket=Path("/"),
            channel_token=b"",
            **fields,
        )
        self.given: list[tuple[Permissions, list[str]]] = []

    def launch(self, _: Link) -> Launchable:
        return self.app

    def grant(self, _: Link, permissions: Permissions, refused: Collection[str] = ()) -> None:
        self.given.append((permissions, sorted(refused)))

    def channel(self, _: Launchable) -> Any:
        return contextlib.nullcontext(3)

    def attend(self, _: Launchable) -> Any:
        return contextlib.nullcontext(None)

    def start(self, *gives: str) -> Permissions:
        """What the app is started with."""
        started: list[Launch] = []

        def start(launch: Launch) -> int:
            started.append(launch)
            return 0

        person = Person(approve=lambda _: None, gives=gives)
        daemon: Any = self
        assert run(Link(KEY), daemon, (), person=person, report=silent, start=start) == 0
        return started[0].permissions


def test_what_was_refused_is_given_again_by_name_and_nothing_else_with_it() -> None:
    daemon = OneApp(refused=("clipboard", "notify"))
    allowed = daemon.start("notify")
    assert (allowed.notify, allowed.clipboard) == (True, False)
    assert daemon.given == [(daemon.app.permissions, ["clipboard"])]


def test_what_the_app_never_asked_for_cannot_be_given() -> None:
    daemon = OneApp()
    with pytest.raises(UserError, match="does not ask for files") as refused:
        daemon.start("files")
    assert refused.value.hint == "It asks for notify, clipboard."
    assert daemon.given == []


def test_an_app_that_is_uninstalled_before_it_starts_is_said_to_be_gone() -> None:
    class Gone(OneApp):
        def install(self, *_: Any, **__: Any) -> None:
            pass

        def launch(self, _: Link) -> Any:
            return None

    with pytest.raises(NoSuchApp, match="uninstalled") as gone:
        Gone().start()
    assert gone.value.hint == "Run it again to install it."


def test_what_a_waiting_release_asks_for_may_be_named() -> None:
    assert OneApp(pending_version="2", pending_manifest=manifest(files=True)).start("files").files is False


@pytest.mark.parametrize(("asks", "says"), [(True, "took back"), (False, "does not ask")])
def test_a_native_program_that_may_not_be_one_says_whose_turn_it_is(asks: bool, says: str) -> None:
    program = Manifest("app", "1", Entry(file="tool"), kind="exec", permissions={"run.native": asks})
    why = fault(program, Permissions(), Tier.A)
    assert isinstance(why, Denied)
    assert says in why.message
    assert ("--grant run.native" in why.hint) is asks


def test_an_app_that_only_starts_itself_again_is_not_let_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now, starts = [1000.0], list[float]()
    monkeypatch.setattr(runs.time, "monotonic", lambda: now[0])
    for _ in range(MAX_STARTS):
        check_starts("app", starts)
        now[0] += 1
    with pytest.raises(Denied, match="started itself") as refused:
        check_starts("app", starts)
    assert "pearrt rollback" in refused.value.hint
    with pytest.raises(Denied) as refused:
        check_starts("app", starts, hint="Mend it.")  # a folder has no release to go back to
    assert refused.value.hint == "Mend it."
    now[0] += STARTS_SPAN_S
    check_starts("app", starts)

"""Release rooms as the commands see them: a link where a request file is taken, and answers gathered."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.options import open_daemon
from pearrt.cli.output import Output, ago, printable
from pearrt.errors import BadLink, PearrtError, UserError
from pearrt.link import SCHEME, Link
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.daemon.caller import Daemon
    from pearrt.publish.answer import Answer
    from pearrt.publish.request import Request
    from pearrt.publish.room import Gathered
    from pearrt.publish.signers import SigningKey

FIRST_POLL_S = 2.0
LAST_POLL_S = 30.0
POLL_GROWTH = 1.2


class RequestType(click.ParamType[Path | Link]):
    """The path of a request file, or the link of a release room."""

    name = "request"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | Link:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        if not value.lower().startswith(f"{SCHEME}://"):
            return Path(value)
        from pearrt.publish.room import Room

        try:
            link = Link.parse(value)
            Room.parse(link)
        except BadLink as e:
            self.fail(f"{e.message} {e.hint}", param, ctx)
        return link


room_option = click.option(
    "--room", is_flag=True, help="Open a release room: signers join by its link, and answer through pearrt."
)
wait_option = click.option(
    "--wait", is_flag=True, help="With a release room's link: wait until enough signers have answered."
)


def open_room(request: Request, link: Link) -> Link:
    """Puts a request that was just drafted into a room; gives the room's link. Raises UserError."""
    from pearrt.publish.desk import Desk
    from pearrt.publish.room import SECRET_BYTES, Room

    room = Room.of(request, secrets.token_bytes(SECRET_BYTES))
    room_link = Link(link.app_key, nodes=link.nodes, mirrors=link.mirrors, fragment=room.fragment)
    Desk.of(Home.from_environment().ceremonies, request.app_key).join_room(request, str(room_link), ours=True)
    return room_link


def room_request(link: Link, daemon: Daemon) -> Request:
    """The checked request of a room: from this machine's desk, else from peers; then it is served from here
    too.

    Raises NoPeers, DigestMismatch, TrustError, or UserError where what it follows is not known here.
    """
    from pearrt.app.drafting import trusted_here
    from pearrt.publish.desk import Desk
    from pearrt.publish.room import Room

    home, room = Home.from_environment(), Room.parse(link)
    home.prepare()
    desk = Desk.of(home.ceremonies, link.app_key)
    if (request := desk.find(room.digest)) is not None:
        if desk.knows(request) and desk.room_link(request) is None:  # it came as a file before
            desk.join_room(request, str(link), ours=False)
        return request
    block = daemon.enter(link)
    request = room.unseal(block, trusted_here(home, link.app_key))
    desk.keep(request)
    desk.join_room(request, str(link), ours=False)
    daemon.offer(link, rooms_only=True)
    return request


def post_answer(link: Link, request: Request, answer: Answer, key: SigningKey, daemon: Daemon) -> int:
    """Posts an answer to the room; how many nodes of the DHT took it.

    Raises UserError without a DHT, Unreachable where no node took it; the hint has the answer's line.
    """
    from pearrt.publish.desk import Desk
    from pearrt.publish.room import Room, post

    item = post(Room.parse(link), answer, key, int(time.time()))
    Desk.of(Home.from_environment().ceremonies, request.app_key).keep_post(request, item)
    try:
        return daemon.post(
            link, key=item.public_key, seq=item.seq, value=item.value, signature=item.signature
        )
    except PearrtError as e:
        hint = f"Signed it is. The daemon tries again later; or send this line by hand: {answer}"
        raise type(e)(e.message, hint=hint) from e


def gather_answers(output: Output, request: Request, link: Link, daemon: Daemon, *, wait: bool) -> Gathered:
    """The request with what its signers posted; with `wait`, once they are enough. What is refused is said.

    Each answer is kept on the desk as it comes: who interrupts it loses nothing. Raises UserError without a
    DHT.
    """
    from pearrt.publish.ceremony import tally
    from pearrt.publish.desk import Desk
    from pearrt.publish.room import Gathered, Room, awaited, gather

    room = Room.parse(link)
    desk = Desk.of(Home.from_environment().ceremonies, request.app_key)
    came: list[str] = []
    told: dict[str, str] = {}
    pause_s, line = FIRST_POLL_S, _Line(output)
    while True:
        if waiting := awaited(request):
            found = gather(room, request, daemon.gather(link, [signer.public for signer in waiting]))
            request = desk.keep_answers(found.request)
            came += found.came
            for name, why in found.refused:
                if told.get(name) != why:
                    line.say(f"Not counted: what {name} posted to the room. {why}")
            told = dict(found.refused)
        standing = tally(request)
        if not wait or standing.complete:
            line.end()
            return Gathered(request, tuple(came), tuple(told.items()))
        line.show(str(standing))
        _sleep(pause_s, line.end)
        pause_s = min(LAST_POLL_S, pause_s * POLL_GROWTH)


def _sleep(seconds: float, interrupted: Callable[[], None]) -> None:
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        interrupted()
        raise


class _Line:
    """Where a wait stands: one line that is written over at a terminal; elsewhere one for each change."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.live = not output.as_json and sys.stderr.isatty()
        self.began = time.monotonic()
        self.shown = ""

    def show(self, standing: str) -> None:
        if self.live:
            waited = ago(time.monotonic() - self.began)
            click.echo(f"\r\033[K{printable(standing)}  ({waited})", nl=False, err=True)
        elif standing != self.shown:
            self.output.say(printable(standing))
        self.shown = standing

    def say(self, text: str) -> None:
        self.end()
        self.output.say(printable(text))

    def end(self) -> None:
        if self.live and self.shown:
            click.echo("\r\033[K", nl=False, err=True)
        self.shown = ""


def gather_from(output: Output, request: Request, where: Path | Link, *, wait: bool, given: bool) -> Gathered:
    """The request, whose answers were checked, with those that lie in its room, if `where` is one.

    `given`: answers were given by hand, which count without a DHT too. Raises UserError for a wait without a
    room or a DHT.
    """
    from pearrt.publish.ceremony import tally
    from pearrt.publish.desk import Desk
    from pearrt.publish.room import Gathered

    as_it_is = Gathered(request, (), ())
    if isinstance(where, Path):
        if wait:
            raise UserError("Only answers to a release room are waited for.", hint="Pass the room's link.")
        return as_it_is
    desk = Desk.of(Home.from_environment().ceremonies, request.app_key)
    if given:
        desk.keep_answers(request)
    if tally(request).complete:
        return as_it_is
    try:
        return gather_answers(output, request, where, open_daemon(), wait=wait)
    except UserError as e:
        if wait or not given:
            raise
        output.say(e.message)
        return as_it_is


def gathered_fields(gathered: Gathered) -> dict[str, Any]:
    """What came from a room, for scripts."""
    return {
        "gathered": list(gathered.came),
        "refused": [{"signer": name, "reason": why} for name, why in gathered.refused],
    }


def add_answers(request: Request, where: Path | Link, answers: list[Answer]) -> Request:
    """The request with answers given by hand. Those gathered from a room before may come once more by hand.

    Raises as `ceremony.collect`.
    """
    from pearrt.publish.ceremony import collect

    new = [answer for answer in answers if isinstance(where, Path) or answer not in request.answers]
    return collect(request, new)

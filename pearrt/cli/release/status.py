"""`pearrt release status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.release.request_file import describe, read_request
from pearrt.cli.release.room import gather_from, gathered_fields, wait_option
from pearrt.errors import BadLink, PearrtError, UserError
from pearrt.link import Link, decode_key
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.publish.request import Request
    from pearrt.publish.room import Gathered


@speaking(name="status")
@click.argument("what", metavar="[REQUEST|LINK]", required=False)
@wait_option
def command(output: Output, what: str | None, wait: bool) -> None:
    """Say where requests stand: who signed, who is awaited.

    Of one REQUEST file, of an app's LINK, or of all that this machine drafted, reviewed or collected. Of the
    LINK of a release room, with the answers that are there by now.
    """
    home = Home.from_environment()
    room = _room(what)
    if wait and room is None:
        raise UserError("Only answers to a release room are waited for.", hint="Pass the room's link.")
    gathered = None if room is None else _gathered(output, room, wait)
    requests = [gathered.request] if gathered else _requests(home, what)
    found = [_status(home, request) for request in requests]
    if gathered:
        found[0] |= gathered_fields(gathered)
    if not _is_file(what):
        _tidy(home, requests, found)
    output.result(
        found, lambda: "\n".join(_line(each) for each in found) or "No requests are under way here."
    )


def _tidy(home: Home, requests: list[Request], found: list[dict[str, Any]]) -> None:
    """What is over is told once, then put away."""
    from pearrt.publish.desk import Desk

    for request, status in zip(requests, found, strict=True):
        desk = Desk.of(home.ceremonies, request.app_key)
        if status["state"] == "published":
            desk.finish(request)
        elif status["state"] == "out of date":
            desk.forget(request)


def _is_file(what: str | None) -> bool:
    """Whether it names a file; a link is too long for a name."""
    return what is not None and "://" not in what and Path(what).is_file()


def _room(what: str | None) -> Link | None:
    """The link, where it is one of a release room. Raises BadLink for one that is misspelt."""
    if what is None or _is_file(what):
        return None
    from pearrt.publish.room import NAME, Room

    link = Link.parse(what)
    if not link.fragment.startswith(NAME):
        return None
    Room.parse(link)
    return link


def _gathered(output: Output, room: Link, wait: bool) -> Gathered:
    from pearrt.app.drafting import trusted_here
    from pearrt.publish.ceremony import collect
    from pearrt.publish.commit import is_committed
    from pearrt.publish.room import Gathered

    request = read_request(room)
    request = collect(request.with_answers(()), request.answers)
    if is_committed(request, trusted_here(Home.from_environment(), request.app_key)):
        return Gathered(request, (), ())
    return gather_from(output, request, room, wait=wait, given=False)


def _requests(home: Home, what: str | None) -> list[Request]:
    from pearrt.publish.ceremony import collect
    from pearrt.publish.desk import Desk

    if what is not None and _is_file(what):
        request = read_request(Path(what))
        return [collect(request.with_answers(()), request.answers)]
    keys = [Link.parse(what).app_key] if what is not None else _apps(home)
    return [request for key in keys for request in Desk.of(home.ceremonies, key).requests()]


def _apps(home: Home) -> list[bytes]:
    found = []
    for folder in sorted(home.ceremonies.iterdir()) if home.ceremonies.is_dir() else ():
        try:
            found.append(decode_key(folder.name))
        except BadLink:
            continue
    return found


def _status(home: Home, request: Request) -> dict[str, Any]:
    from pearrt.app.drafting import trusted_here
    from pearrt.publish.commit import check_current, is_committed
    from pearrt.publish.desk import Desk
    from pearrt.publish.fingerprint import fingerprint

    desk = Desk.of(home.ceremonies, request.app_key)
    trusted = trusted_here(home, request.app_key)
    reviewed = desk.review_of(request) is not None
    state, reason = "open", ""
    if is_committed(request, trusted):
        state = "published"
    else:
        try:
            check_current(request, trusted)
        except PearrtError as e:
            state, reason = "out of date", e.message
    return describe(request) | {
        "fingerprint": fingerprint(request.digest),
        "reviewed": reviewed,
        "room": desk.room_link(request),
        "state": state,
        "reason": reason,
    }


def _line(status: dict[str, Any]) -> str:
    state = status["state"] if status["state"] != "open" else status["signatures"]
    reviewed = "reviewed here" if status["reviewed"] else "not reviewed here"
    room = f"\n  in a room: {status['room']}" if status["room"] else ""
    return printable(f"{status['title']}  {state}  ({reviewed}; {status['fingerprint']}){room}")

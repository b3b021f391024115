"""`pearrt release status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.release.request_file import describe, read_request
from pearrt.errors import BadLink, PearrtError
from pearrt.link import Link, decode_key
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.publish.request import Request


@speaking(name="status")
@click.argument("what", metavar="[REQUEST|LINK]", required=False)
def command(output: Output, what: str | None) -> None:
    """Say where requests stand: who signed, who is awaited.

    Of one REQUEST file, of an app's LINK, or of all that this machine drafted, reviewed or collected.
    """
    home = Home.from_environment()
    requests = _requests(home, what)
    found = [_status(home, request) for request in requests]
    if what is None or not Path(what).is_file():
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


def _requests(home: Home, what: str | None) -> list[Request]:
    from pearrt.publish.ceremony import collect
    from pearrt.publish.desk import Desk

    if what is not None and Path(what).is_file():
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
        "state": state,
        "reason": reason,
    }


def _line(status: dict[str, Any]) -> str:
    state = status["state"] if status["state"] != "open" else status["signatures"]
    reviewed = "reviewed here" if status["reviewed"] else "not reviewed here"
    return printable(f"{status['title']}  {state}  ({reviewed}; {status['fingerprint']})")

"""Request and answer files as the commands read, write and describe them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pearrt.cli.options import open_daemon
from pearrt.cli.output import Output, printable
from pearrt.cli.release.room import RequestType, open_room, room_request
from pearrt.errors import PearrtError
from pearrt.link import Link
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.daemon.caller import Daemon
    from pearrt.publish.answer import Answer
    from pearrt.publish.request import Request

T = TypeVar("T")

SUFFIX = ".request"
request_argument = click.argument("where", metavar="REQUEST|LINK", type=RequestType())
output_option = click.option(
    "--output",
    "-o",
    "target",
    type=click.Path(path_type=Path),
    help="The file to write, instead of its name.",
)


def read_request(where: Path | Link, daemon: Daemon | None = None) -> Request:
    """A checked request, out of a file or of a release room.

    Raises UserError, RemoteError or TrustError, each with the file's name; NoPeers.
    """
    from pearrt.publish.desk import read_bounded
    from pearrt.publish.request import MAX_REQUEST_BYTES, Request

    if isinstance(where, Link):
        return room_request(where, daemon or open_daemon())
    path = where
    data = read_bounded(path, MAX_REQUEST_BYTES)
    try:
        return Request.decode(data)
    except PearrtError as e:
        raise type(e)(f"{path}: {e.message}", hint=e.hint) from e


def read_answers(named: Sequence[str]) -> list[Answer]:
    """The signers' answers. Raises as `read_lines`."""
    from pearrt.publish.answer import MARK, find_answers

    return read_lines(named, MARK, find_answers)


def read_lines(named: Sequence[str], mark: str, find: Callable[[bytes], list[T]]) -> list[T]:
    """What `find` finds in files, or in lines that begin with `mark` and were given themselves.

    Raises UserError, or RemoteError with the file's name.
    """
    from pearrt.publish.desk import read_bounded
    from pearrt.publish.mail_line import MAX_TEXT_BYTES

    found: list[T] = []
    for name in named:
        if name.strip().lower().startswith(mark):
            found += find(name.encode())
            continue
        data = read_bounded(Path(name), MAX_TEXT_BYTES)
        try:
            found += find(data)
        except PearrtError as e:
            raise type(e)(f"{name}: {e.message}", hint=e.hint) from e
    return found


def file_of(where: Path | Link, request: Request, suffix: str) -> Path:
    """The name of a file beside the request's; of one that has no file, after what it asks for."""
    if isinstance(where, Path):
        return where.with_suffix(suffix)
    return file_named(title(request).partition(" for ")[0], suffix)


def file_named(text: str, suffix: str = SUFFIX) -> Path:
    """A file in this folder, called after a publisher's words."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
    return Path(f"{name or 'request'}{suffix}")


def write_request(
    output: Output,
    request: Request,
    target: Path,
    *,
    offer: bool = True,
    embargo: bool = False,
    room: Link | None = None,
    say: str = "",
) -> None:
    """Writes a new request, remembers it, has its bundles served to reviewers, and says what comes next.

    `embargo`: nobody is served its bundles before they are released.
    `room`: the app's link with nodes to find this machine by; a release room is opened then.
    """
    from pearrt.atomic import write_file
    from pearrt.publish.desk import Desk
    from pearrt.publish.fingerprint import fingerprint

    home = Home.from_environment()
    home.prepare()
    desk = Desk.of(home.ceremonies, request.app_key)
    if embargo:
        desk.embargo(request)
    desk.keep(request)
    data = request.encode()
    write_file(target, data, mode=0o644)
    room_link = None if room is None else open_room(request, room)
    offered = []
    offer = offer and not embargo
    if offer or room_link:
        offered = open_daemon().offer(room_link or Link(request.app_key), rooms_only=not offer)
    result = describe(request) | {
        "file": str(target),
        "bytes": len(data),
        "fingerprint": fingerprint(request.digest),
        "offered": offered,
        "room": None if room_link is None else str(room_link),
    }
    shown = [str(target), *([str(room_link)] if room_link else []), result["fingerprint"]]
    output.result(result, printable("\n".join(shown)))
    if say:
        output.say(printable(say))
    output.say(_what_next(target, room_link))


def _what_next(target: Path, room: Link | None) -> str:
    same = "The six words above are the same for everyone who holds this very request."
    if room is None:
        return (
            f"Send {target} to the signers, by any way: `pearrt release review {target.name}` shows what they"
            f" are asked to sign. {same}"
        )
    return (
        f"Send the link to the signers and to nobody else: `pearrt release review '{room}'` shows what they"
        " are asked to sign, `pearrt release sign` posts their answers. Leave this machine's daemon running."
        f" {same}"
    )


def describe(request: Request) -> dict[str, Any]:
    """What a request is and where it stands, for scripts. Its answers must have been checked."""
    from pearrt.publish.ceremony import tally
    from pearrt.publish.changes import kind_of

    standing = tally(request)
    return {
        "link": str(Link(request.app_key)),
        "kind": kind_of(request),
        "digest": request.digest.hex(),
        "title": title(request),
        "version": request.version,
        "root_version": request.root.version if request.root else None,
        "signatures": str(standing),
        "complete": standing.complete,
        "groups": [
            {
                "group": each.group,
                "threshold": each.threshold,
                "have": [signer.name or signer.keyid[:8] for signer in each.have],
                "missing": [signer.name or signer.keyid[:8] for signer in each.missing],
            }
            for each in standing.standings
        ],
    }


def title(request: Request) -> str:
    """One line that says what is asked for."""
    from pearrt.publish.changes import kind_of, lifted_revocations, new_revocations, release_changes

    kind = kind_of(request)
    if kind == "app":
        return "a new app"
    if kind == "root":
        return "new signers"
    if kind == "channel":
        return "signers of a channel"
    if kind == "revoke":
        digests = [each.index_digest for each in (*new_revocations(request), *lifted_revocations(request))]
        return f"revocation of {', '.join(digest.hex()[:8] for digest in digests)}"
    changes = release_changes(request)
    names = {f"{change.after.name} {change.after.version}" for change in changes if change.after}
    return f"{', '.join(sorted(names)) or 'withdrawal'} for {', '.join(change.path for change in changes)}"

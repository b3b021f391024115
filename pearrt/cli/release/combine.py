"""`pearrt release combine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.release.request_file import (
    describe,
    output_option,
    read_answers,
    read_request,
    request_argument,
)
from pearrt.cli.release.room import add_answers, gather_from, gathered_fields, wait_option
from pearrt.errors import PearrtError, UserError
from pearrt.link import Link
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.publish.request import Request

SUFFIX = ".signed"


@speaking(name="combine")
@request_argument
@click.argument("answers", metavar="[ANSWER...]", nargs=-1)
@output_option
@wait_option
def command(
    output: Output, where: Path | Link, answers: tuple[str, ...], target: Path | None, wait: bool
) -> None:
    """Collect answers to a request, in any order.

    An ANSWER is a file, a saved mail, or the line itself. Each is checked: its signer, what it signs, and
    that nobody counts twice; one that is wrong stops all. Writes the request with its answers to a file that
    further answers can be added to, and says who is awaited. With the LINK of a release room, answers that
    were posted there are gathered too; they are kept on this machine, and no file is written without
    --output.
    """
    from pearrt.atomic import write_file
    from pearrt.publish.ceremony import collect
    from pearrt.publish.desk import Desk

    home = Home.from_environment()
    home.prepare()
    if isinstance(where, Path) and not answers:
        raise UserError("There is no answer to add to the file.", hint="Name answers, or a room's link.")
    request = read_request(where)
    combined = collect(request.with_answers(()), request.answers)
    for name in answers:
        combined = _with_answers_of(combined, where, name)
    gathered = gather_from(output, combined, where, wait=wait, given=bool(answers))
    combined = gathered.request
    path = target or (where.with_suffix(SUFFIX) if isinstance(where, Path) else None)
    if path is not None:
        write_file(path, combined.encode(), mode=0o644)
    if isinstance(where, Path):
        Desk.of(home.ceremonies, combined.app_key).keep(combined)
    fields = describe(combined) | gathered_fields(gathered)
    fields |= {"file": None if path is None else str(path)}
    output.result(fields, printable(fields["signatures"]))
    if fields["complete"]:
        named = path if path is not None else f"'{where}'"
        output.say(f"Complete. `pearrt release commit {named}` publishes it, on the publisher's seeder.")
    elif path is not None:
        output.say(f"{path} holds what is there; combine further answers with it.")
    else:
        output.say("Kept on this machine. Run it again for further answers, or with --wait.")


def _with_answers_of(request: Request, where: Path | Link, name: str) -> Request:
    """The request with the answers in a file or line; an error says in which. Raises as
    `ceremony.collect`."""
    try:
        return add_answers(request, where, read_answers([name]))
    except PearrtError as e:
        if name.startswith("pearrt-") or name in e.message:
            raise
        raise type(e)(f"{name}: {e.message}", hint=e.hint) from e

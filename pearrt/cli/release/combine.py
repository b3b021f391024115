"""`pearrt release combine`."""

from __future__ import annotations

from pathlib import Path

import click

from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.release.request_file import (
    describe,
    output_option,
    read_answers,
    read_request,
    request_argument,
)
from pearrt.errors import PearrtError
from pearrt.paths import Home

SUFFIX = ".signed"


@speaking(name="combine")
@request_argument
@click.argument("answers", metavar="ANSWER...", nargs=-1, required=True)
@output_option
def command(output: Output, request_path: Path, answers: tuple[str, ...], target: Path | None) -> None:
    """Collect answers to a request, in any order.

    An ANSWER is a file, a saved mail, or the line itself. Each is checked: its signer, what it signs, and
    that nobody counts twice; one that is wrong stops all. Writes the request with its answers to a file that
    further answers can be added to, and says who is awaited.
    """
    from pearrt.atomic import write_file
    from pearrt.publish.ceremony import collect
    from pearrt.publish.desk import Desk

    home = Home.from_environment()
    home.prepare()
    request = read_request(request_path)
    combined = collect(request.with_answers(()), request.answers)
    for name in answers:
        try:
            combined = collect(combined, read_answers([name]))
        except PearrtError as e:
            if name.startswith("pearrt-") or name in e.message:
                raise
            raise type(e)(f"{name}: {e.message}", hint=e.hint) from e
    path = target or request_path.with_suffix(SUFFIX)
    write_file(path, combined.encode(), mode=0o644)
    Desk.of(home.ceremonies, combined.app_key).keep(combined)
    fields = describe(combined) | {"file": str(path)}
    output.result(fields, printable(fields["signatures"]))
    if fields["complete"]:
        output.say(f"Complete. `pearrt release commit {path}` publishes it, on the publisher's seeder.")
    else:
        output.say(f"{path} holds what is there; combine further answers with it.")

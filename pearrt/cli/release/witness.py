"""`pearrt release witness`: what the publisher does with witnesses; `pearrt witness` is their own side."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.options import Network, link_argument, network_options
from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.release.request_file import read_lines
from pearrt.errors import UserError
from pearrt.link import Link
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.publish.waiting import Waiting

SUFFIX = ".witness"


def witness_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--witness and --witness-threshold, the same for a new app and for a later root."""
    command = click.option(
        "--witness-threshold",
        type=click.IntRange(1),
        help="How many of them it takes: more than half, which is also the default.",
    )(command)
    return click.option(
        "--witness",
        multiple=True,
        metavar="[NAME=]KEY",
        help="Who has to have seen each release: public key, .pub file, name; may be repeated.",
    )(command)


@speaking(name="witness")
@link_argument
@click.argument("answers", metavar="[ANSWER...]", nargs=-1)
@click.option("--drop", is_flag=True, help="Give up what waits; who cosigned it cosigns nothing instead.")
@click.option("--output", "-o", "target", type=click.Path(path_type=Path), help="Where to write the file.")
@network_options
def command(
    output: Output,
    link: Link,
    answers: tuple[str, ...],
    drop: bool,
    target: Path | None,
    network: Network,
) -> None:
    """Collect what witnesses answered, and publish once enough of them have seen it.

    A committed release of an app with witnesses waits on this machine; no peer is given it before. Without an
    ANSWER this writes the file to send to the witnesses and says who is awaited. An ANSWER is a file, a saved
    mail, or the line itself.
    """
    from pearrt.publish.publication import Publication
    from pearrt.publish.witness_answer import MARK, find_witness_answers

    publication = Publication.open(Home.from_environment().publishing / link.key_text)
    if drop:
        if answers:
            raise UserError("--drop takes no answers.")
        publication.withdraw()
        output.result({"link": str(link), "dropped": True}, "Nothing waits for witnesses any more.")
        return
    if answers:
        publication = publication.witness(read_lines(answers, MARK, find_witness_answers), time.time())
    if publication.waiting is not None:
        show_waiting(output, link, publication.waiting, {"link": str(link)}, target)
        return
    if not answers:
        raise UserError("Nothing of this app waits for witnesses.")
    network.daemon().publish(link)
    trusted = publication.trusted
    seen_by = [witness.name for witness in trusted.witnessed_by_of()]
    result = {"link": str(link), "committed": True, "sequence": trusted.targets.version, "witnesses": seen_by}
    output.result(result, printable(f"Published, seen by {', '.join(seen_by) or 'its witnesses'}. {link}"))


def show_waiting(
    output: Output, link: Link, waiting: Waiting, fields: dict[str, Any], target: Path | None = None
) -> None:
    """Writes the file for the witnesses and says who is awaited."""
    from pearrt.atomic import write_file

    path = target or Path(f"{link.key_text[:8]}-{waiting.offered.targets.version}{SUFFIX}")
    write_file(path, waiting.request.encode(), mode=0o644)
    result = fields | {
        "committed": False,
        "file": str(path),
        "seen_by": [witness.name for witness in waiting.seen_by],
        "awaited": [witness.name for witness in waiting.awaited],
    }
    output.result(result, printable(f"{waiting.progress()}. {path}"))
    output.say(
        f"Nobody is given it yet. Send {path} to the witnesses, who run"
        f" `pearrt witness {path.name} --key NAME`; then `pearrt release witness LINK ANSWER…` publishes it."
    )

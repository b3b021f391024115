"""`pearrt release commit`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from pearrt.cli.options import Network, network_options
from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.release.combine import SUFFIX
from pearrt.cli.release.request_file import (
    describe,
    file_of,
    output_option,
    read_answers,
    read_request,
    request_argument,
)
from pearrt.cli.release.room import add_answers, gather_from, wait_option
from pearrt.cli.release.witness import show_waiting
from pearrt.link import Link
from pearrt.paths import Home


@speaking(name="commit")
@request_argument
@click.argument("answers", metavar="[ANSWER...]", nargs=-1)
@output_option
@wait_option
@network_options
def command(
    output: Output,
    where: Path | Link,
    answers: tuple[str, ...],
    target: Path | None,
    wait: bool,
    network: Network,
) -> None:
    """Publish a request that enough signers answered.

    All is checked as every peer will check it, then published in one step: a kill at any moment leaves the
    old state or the new one, and the command can be run again. On a machine that does not hold the app's
    heartbeat key it writes the complete file instead, for the publisher's seeder to commit. With the LINK of
    a release room, the answers that were posted there are gathered first.
    """
    from pearrt.app.drafting import trusted_here
    from pearrt.atomic import write_file
    from pearrt.publish.ceremony import collect, signed_blobs
    from pearrt.publish.commit import commit
    from pearrt.publish.desk import Desk

    home = Home.from_environment()
    home.prepare()
    daemon = network.daemon()
    request = read_request(where, daemon)
    request = collect(request.with_answers(()), request.answers)
    request = add_answers(request, where, read_answers(answers))
    request = gather_from(output, request, where, wait=wait, given=bool(answers)).request
    signed_blobs(request)
    desk = Desk.of(home.ceremonies, request.app_key)
    publication = commit(request, home.publishing, desk, time.time())
    fields = describe(request)
    if publication is None:
        _check_takes(request, trusted_here(home, request.app_key))
        path = target or file_of(where, request, SUFFIX)
        write_file(path, request.encode(), mode=0o644)
        output.result(fields | {"committed": False, "file": str(path)}, printable(str(path)))
        output.say(
            "It is complete and valid. The app's heartbeat key is not on this machine: run"
            f" `pearrt release commit {path.name}` on the publisher's seeder."
        )
        return
    finish(output, home, request, publication, fields, daemon)


def finish(
    output: Output, home: Home, request: Any, publication: Any, fields: dict[str, Any], daemon: Any
) -> None:
    """Has the daemon take over what was committed, and says so."""
    from pearrt.publish.desk import Desk

    link = Link(request.app_key)
    if publication.trusted.releases:
        daemon.publish(link)
    Desk.of(home.ceremonies, request.app_key).finish(request)
    if publication.waiting is not None:
        show_waiting(output, link, publication.waiting, fields)
        return
    signed_by = [signer.name for signer in publication.trusted.signed_by]
    result = fields | {"committed": True, "sequence": request.version, "signed_by": signed_by}
    text = f"{fields['title']}: published, signed by {', '.join(signed_by)}. {link}"
    output.result(result, printable(text))


def _check_takes(request: Any, trusted: Any) -> None:
    """Raises UserError where the request is out of date as far as this machine knows."""
    from pearrt.publish.commit import check_current

    check_current(request, trusted)

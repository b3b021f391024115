"""`pearrt release request`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.options import Network, link_argument, network_options
from pearrt.cli.output import Output, speaking
from pearrt.cli.release.request_file import file_named, output_option, write_request
from pearrt.cli.release.room import room_option
from pearrt.cli.release.terms import terms_options
from pearrt.link import Link
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.app.drafting import Terms


@speaking(name="request")
@link_argument
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True)
@terms_options
@output_option
@room_option
@click.option("--no-offer", is_flag=True, help="Do not serve the bundles to reviewers: they have them.")
@network_options
def command(
    output: Output,
    link: Link,
    bundles: tuple[str, ...],
    terms: Terms,
    target: Path | None,
    room: bool,
    no_offer: bool,
    network: Network,
) -> None:
    """Write a file that asks the signers for a release.

    BUNDLE is the digest that `pearrt stage` printed, or the beginning of it; several, one for each platform,
    make one release. The file holds the exact bytes to be signed and what they follow. This machine serves
    the bundles to those who review them; nobody can install them before enough signers have signed. --room
    has it serve the request too: signers need the room's link, which is printed, and no file.
    """
    from pearrt.app.drafting import draft_release
    from pearrt.publish.changes import release_changes
    from pearrt.publish.request import Request

    home = Home.from_environment()
    daemon = network.daemon()
    link = network.hinted(link)
    base = known_base(home, link, daemon)
    request = Request.of(base, draft_release(base, home, bundles, terms, time.time()))
    (release, *_) = [change.after for change in release_changes(request) if change.after]
    path = target or file_named(f"{release.name}-{release.version}")
    write_request(output, request, path, embargo=no_offer, room=link if room else None)


def known_base(home: Home, link: Link, daemon: Any) -> Any:
    """What the next version follows: as published from here, else as the daemon finds it."""
    from pearrt.app.drafting import base_of, trusted_here

    if trusted_here(home, link.app_key) is None:
        daemon.info(link)
    return base_of(home, link.app_key)

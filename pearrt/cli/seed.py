"""`pearrt seed`."""

from __future__ import annotations

import click

from pearrt.cli.options import Network, link_argument, network_options, stale_option
from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.progress import ProgressBar
from pearrt.link import Link


@speaking(name="seed")
@link_argument
@click.option("--stop", is_flag=True, help="Seed it no longer than the daemon would anyway.")
@stale_option
@network_options
def command(
    output: Output,
    link: Link,
    stop: bool,
    allow_stale: bool,
    network: Network,
) -> None:
    """Keep giving an app to others, until told otherwise.

    Fetches the app if it is not here, without installing it, follows its releases, and keeps the daemon
    running.
    """
    daemon = network.daemon()
    link = network.hinted(link)
    if stop:
        output.result(daemon.stop_seeding(link), "No longer seeding without end.")
        return
    with ProgressBar(shown=not output.as_json) as bar:
        seeding = daemon.seed(link, bar, allow_stale=allow_stale)
    output.result(seeding, printable(f"Seeding {link}, version {seeding['version']}."))

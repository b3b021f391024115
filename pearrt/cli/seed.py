"""`pearrt seed`."""

from __future__ import annotations

import click

from pearrt.cli.options import link_argument, network_options, open_daemon, with_nodes
from pearrt.cli.output import Output, speaking
from pearrt.cli.progress import ProgressBar
from pearrt.link import HostPort, Link


@speaking(name="seed")
@link_argument
@click.option("--stop", is_flag=True, help="Seed it no longer than the daemon would anyway.")
@network_options
def command(
    output: Output,
    link: Link,
    stop: bool,
    bootstrap: tuple[HostPort, ...],
    hosts: tuple[HostPort, ...],
    no_dht: bool,
) -> None:
    """Keep giving an app to others, until told otherwise.

    Fetches the app if it is not here, follows its releases, and keeps the daemon running.
    """
    daemon = open_daemon(bootstrap, hosts, no_dht)
    link = with_nodes(link, bootstrap)
    if not stop:
        with ProgressBar(shown=not output.as_json) as bar:
            daemon.install(link, bar, hosts=hosts)
    seeding = daemon.seed(link, on=not stop)
    output.result(seeding, "No longer seeding without end." if stop else f"Seeding {link}")

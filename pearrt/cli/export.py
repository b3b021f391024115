"""`pearrt export`."""

from __future__ import annotations

from pathlib import Path

import click

from pearrt.cli.bootstrapper import followed_runtime
from pearrt.cli.options import Network, link_argument, network_options, stale_option
from pearrt.cli.output import Output, printable, size, speaking
from pearrt.cli.progress import ProgressBar
from pearrt.link import Link


@speaking(name="export")
@link_argument
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--with-runtime", is_flag=True, help="Put pearrt itself beside the app.")
@stale_option
@network_options
def command(
    output: Output,
    link: Link,
    file: Path,
    with_runtime: bool,
    allow_stale: bool,
    network: Network,
) -> None:
    """Write an app to a .pear file, to carry it by hand.

    FILE holds the newest release for this kind of machine and all signatures: `pearrt run ./FILE` verifies it
    without any network. Nothing is fetched where the app is here already. Unpacked under any static web
    server, the file is a mirror.
    """
    daemon = network.daemon()
    links = [network.hinted(link)]
    if with_runtime:
        hint = "Leave out --with-runtime, or export from a machine where the bootstrapper installed it."
        links.append(followed_runtime(hint))
    with ProgressBar(shown=not output.as_json) as bar:
        done = daemon.export(links, file.absolute(), bar, allow_stale=allow_stale)
    output.result(
        done,
        printable(f"{file}: version {done['version']}, {size(done['bytes'])}. Run it: pearrt run {file}"),
    )

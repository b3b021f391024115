"""`pearrt import`."""

from __future__ import annotations

from pathlib import Path

import click

from pearrt.cli.options import open_daemon, stale_option
from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.progress import ProgressBar


@speaking(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--seed", is_flag=True, help="Keep giving it to others, until told otherwise.")
@stale_option
def command(output: Output, file: Path, seed: bool, allow_stale: bool) -> None:
    """Take an app from a .pear file: verified, installed, given onward.

    The rules are those of the network: the metadata is verified from the link, or as an update of what this
    machine trusts, and every block by its digest. No network is needed.
    """
    with ProgressBar(shown=not output.as_json) as bar:
        done = open_daemon().import_file(file.absolute(), bar, allow_stale=allow_stale, seed=seed)
    output.result(
        done, printable(f"{done['name']} {done['version']} is here. Run it: pearrt run {done['link']}")
    )
    if done["waiting"]:
        output.say(
            printable(f"{done['waiting']} asks for more than was approved: `pearrt run ./FILE` shows it.")
        )

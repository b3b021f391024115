"""`pearrt gc`."""

from __future__ import annotations

import click

from pearrt.cli.options import open_daemon
from pearrt.cli.output import Output, size, speaking


@speaking(name="gc")
@click.option("--fsck", is_flag=True, help="Also read every block and drop damaged ones.")
@click.option("--dry-run", is_flag=True, help="Say what would be freed, and free nothing.")
def command(output: Output, fsck: bool, dry_run: bool) -> None:
    """Free the disk of blocks that no app needs."""
    freed = open_daemon().gc(fsck=fsck, dry_run=dry_run)
    verb = "would be freed" if dry_run else "freed"
    text = f"{freed['removed']} blocks, {size(freed['freed_bytes'])} {verb}."
    if fsck:
        text += f" {freed['checked']} blocks read, {freed['dropped']} damaged."
    output.result(freed, text)

"""`pearrt release`: one file per step."""

from __future__ import annotations

import click

from pearrt.cli.release import publish


@click.group(name="release")
def command() -> None:
    """Prepare, review, sign and publish releases."""


for module in (publish,):
    command.add_command(module.command)

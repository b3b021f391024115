"""`pearrt uninstall`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from pearrt.cli.options import link_argument, open_daemon
from pearrt.cli.output import Output, printable, speaking
from pearrt.errors import Denied, NoSuchApp
from pearrt.link import Link


@speaking(name="uninstall")
@link_argument
@click.option("--keep-data", is_flag=True, help="Keep the app's private storage.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(output: Output, link: Link, keep_data: bool, yes: bool) -> None:
    """Remove an app from this machine.

    Its files and your approval go, and its private storage unless --keep-data.
    """
    daemon = open_daemon()
    name = printable(_name(daemon.apps(), link))
    if not yes:
        if not sys.stdin.isatty():
            raise Denied("Nothing was removed: there is no terminal to ask on.", hint="Pass --yes.")
        what = "its files" if keep_data else "its files and its private data"
        if not click.confirm(f"Remove {name}, {what}?", err=True):
            raise Denied("Nothing was removed.")
    daemon.uninstall(link, keep_data=keep_data)
    output.result({"link": str(link)}, f"{name} is removed. `pearrt gc` frees its blocks.")


def _name(apps: Sequence[Mapping[str, Any]], link: Link) -> str:
    """Of what is here: nothing is looked for to be removed."""
    for app in apps:
        if Link.parse(app["link"]).app_key == link.app_key:
            return str(app["name"])
    raise NoSuchApp(f"{link.key_text} is not on this machine.")

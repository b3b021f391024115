"""`pearrt verify`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from pearrt.cli.freshness import freshness_text
from pearrt.cli.options import LinkOrFileType, LinkType, open_daemon
from pearrt.cli.output import Output, printable, speaking
from pearrt.errors import BadLink, DigestMismatch, UserError
from pearrt.link import Link


class _WhatType(LinkOrFileType):
    """A link, the path of a `.pear` file, or of a folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and "://" not in value and os.path.isdir(value):
            return Path(value)
        return super().convert(value, param, ctx)


@speaking(name="verify")
@click.argument("what", type=_WhatType(), metavar="LINK|FILE|FOLDER")
@click.option("--link", "against", type=LinkType(), help="The app that a folder should be, or a file hold.")
def command(output: Output, what: Link | Path, against: Link | None) -> None:
    """Check an installed app, a .pear file or a folder against the signatures, offline.

    The whole chain, from the link: root metadata, thresholds, the signed index, every file or block. A FOLDER
    is held against the releases of --link that are on this machine.
    """
    if isinstance(what, Path) and not what.is_dir():
        _file(output, what, against)
        return
    if isinstance(what, Path):
        if against is None:
            raise UserError("A folder is verified against an app.", hint="Name the app with --link.")
        found = open_daemon().verify(against, what.absolute())
    else:
        found = open_daemon().verify(what)
    name = f"{found['name']} {found['version']}"
    if found["differences"]:
        shown = ", ".join(found["differences"][:5])
        raise DigestMismatch(
            printable(f"{len(found['differences'])} files of {name} are not what was signed: {shown}."),
            hint="Uninstall it and run it again." if isinstance(what, Link) else "",
        )
    signed = f"statement {found['sequence']}, signed by {', '.join(found['signed_by'])}"
    output.result(found, printable(f"{name}: {found['files']} files are what was signed ({signed})."))


def _file(output: Output, path: Path, against: Link | None) -> None:
    from pearrt.app.verify import verify_file

    found = verify_file(path, time.time())
    links = [Link.parse(app["link"]) for app in found["apps"]]
    if against is not None and against.app_key != links[0].app_key:
        raise BadLink(f"{path} holds another app: {links[0]}.", hint="Is it the right file?")
    output.result(found, lambda: printable("\n".join(map(_app, found["apps"]))))


def _app(app: dict[str, Any]) -> str:
    releases = ", ".join(f"{each['name']} {each['version']} ({each['path']})" for each in app["releases"])
    freshness = freshness_text(app["freshness"], app["confirmed_at"], 0, None)
    return (
        f"{app['link']}\n  {releases}: {app['blocks']} blocks are what was signed"
        f" (statement {app['sequence']}, signed by {', '.join(app['signed_by'])}, {app['threshold']} needed)"
        f"\n  {freshness}"
    )

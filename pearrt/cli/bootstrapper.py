"""`pearrt bootstrapper`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from pearrt.cli.options import HostPortType, LinkType
from pearrt.cli.output import Output, speaking
from pearrt.errors import UserError
from pearrt.link import HostPort, Link


@speaking(name="bootstrapper")
@click.option("--for", "app", type=LinkType(), help="The app that it starts; without, it is all of pearrt.")
@click.option(
    "--runtime",
    type=LinkType(),
    help="Link of the pearrt releases that it installs. Default: those that this pearrt follows.",
)
@click.option(
    "--node",
    "nodes",
    type=HostPortType(),
    multiple=True,
    help="A DHT node or peer to begin with, host:port; may be given several times.",
)
@click.option(
    "-o", "--output", "path", type=click.Path(path_type=Path), required=True, help="The file to write."
)
def command(
    output: Output, app: Link | None, runtime: Link | None, nodes: tuple[HostPort, ...], path: Path
) -> None:
    """Make one small file that installs pearrt, or starts an app, anywhere.

    It needs Python 3.11 or later and nothing else: it finds peers, verifies pearrt's own release against its
    signers, installs it and hands over. The same arguments give the same bytes. Hand it to a friend:

    \b
        pearrt bootstrapper --for pearrt://… --node seeder.example.org:7677 -o app.pyz
        python3 app.pyz
    """
    from pearrt.publish.pyz import build, write_pyz

    runtime = runtime or followed_runtime("Name it: --runtime pearrt://…")
    built = build(runtime=runtime, nodes=nodes, app=app)
    write_pyz(path, built)
    result = {
        "file": str(path),
        "bytes": len(built),
        "sha256": hashlib.sha256(built).hexdigest(),
        "runtime": str(runtime),
        "app": str(app) if app else "",
        "nodes": [str(node) for node in nodes],
    }
    output.result(result, str(path))
    output.say(f"{len(built)} bytes, sha256 {result['sha256']}")


def followed_runtime(hint: str) -> Link:
    """The link whose releases this machine's pearrt follows. Raises UserError where it follows none."""
    from pearrt.paths import Home
    from pearrt.runtime.layout import RuntimeFolder

    link = RuntimeFolder(Home.from_environment().data).read().link
    if not link:
        raise UserError(
            "This pearrt did not come by peers, so it knows no link of pearrt's releases.",
            hint=hint,
        )
    return Link.parse(link)

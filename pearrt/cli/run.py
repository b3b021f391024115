"""`pearrt run`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from pearrt.app.launch import Launchable
from pearrt.app.run import Daemon as RunDaemon
from pearrt.app.run import run
from pearrt.cli.options import LinkOrFileType, network_options, open_daemon, with_nodes
from pearrt.cli.output import Output, ago, printable, speaking
from pearrt.cli.progress import ProgressBar
from pearrt.errors import Denied, Expired
from pearrt.link import HostPort, Link


@speaking(
    name="run",
    data_on_stderr=True,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("link", type=LinkOrFileType())
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--yes", is_flag=True, help="Approve what the app asks for, without a question.")
@click.option("--update", is_flag=True, help="Wait for the newest release instead of starting what is here.")
@click.option(
    "--allow-stale", is_flag=True, help="Install although the publisher has not confirmed it for long."
)
@network_options
def command(
    output: Output,
    link: Link | Path,
    arguments: tuple[str, ...],
    yes: bool,
    update: bool,
    allow_stale: bool,
    bootstrap: tuple[HostPort, ...],
    hosts: tuple[HostPort, ...],
    no_dht: bool,
) -> int:
    """Run an app by its link, or from a .pear file.

    The first time, the app is found through peers, verified against its signers and installed; you see who
    signed it and what it may do, and approve once. Later it starts at once from disk and is kept current in
    the background. ARGUMENTS are the app's. The exit code is the app's; stdin and stdout are the app's too,
    so --json speaks on stderr. LINK may be the path of a .pear file: it is verified just so, without any
    network.
    """
    daemon: RunDaemon = open_daemon(bootstrap, hosts, no_dht)
    if isinstance(link, Path):
        from pearrt.cli.from_file import FromFile

        daemon = FromFile(open_daemon(bootstrap, hosts, no_dht), link)
        link, update = daemon.link, True
    target = with_nodes(link, *bootstrap, *hosts)
    with ProgressBar(shown=not output.as_json) as bar:

        def start(stale: bool) -> int:
            return run(
                target,
                daemon,
                arguments,
                approve=lambda app: _approve(output, app, yes=yes, bar=bar),
                report=bar,
                warn=lambda text: _warn(output, text, bar),
                update=update,
                allow_stale=stale,
                show=lambda url: _show(output, url),
            )

        try:
            return start(allow_stale)
        except Expired as e:
            if not sys.stdin.isatty():
                raise Expired(e.message, hint="Pass --allow-stale to install it all the same.") from e
            if not click.confirm(f"{printable(e.message)} Install it all the same?", err=True):
                raise
            return start(True)


def _warn(output: Output, text: str, bar: ProgressBar) -> None:
    bar.__exit__(None, None, None)
    if not output.as_json:
        click.secho(printable(text), fg="yellow", err=True)


def _approve(output: Output, app: Launchable, *, yes: bool, bar: ProgressBar) -> bool:
    """Shows who signed and what is asked for; the person's answer. Without a terminal only --yes is a yes."""
    bar.__exit__(None, None, None)
    if not output.as_json:
        click.echo(_question(app), err=True)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise Denied(
            f"{printable(app.name)} needs your approval and there is no terminal to ask on.",
            hint="Run it in a terminal once, or pass --yes.",
        )
    return click.confirm("Run it?", err=True)


def _show(output: Output, url: str) -> None:
    """Opens the app's page in the browser, or tells its address, which is good for one browser, once."""
    if not output.as_json and sys.stderr.isatty() and _has_browser():
        import webbrowser

        if webbrowser.open(url):
            return
    output.result({"url": url}, f"Its page: {url}")


def _has_browser() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _question(app: Launchable) -> str:
    confirmed = f", confirmed {ago(time.time() - app.confirmed_at)} ago" if app.confirmed_at else ""
    lines = [
        click.style(f"{printable(app.name)} {printable(app.version)}", bold=True),
        f"  signed by {printable(', '.join(app.signed_by))}; it takes {app.threshold} of {len(app.signers)}",
        f"  {app.freshness}{confirmed}",
        "  It may:",
        *(f"    - {printable(line)}" for line in app.permissions.describe()),
    ]
    return "\n".join(lines)

"""`pearrt run`."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path

import click

from pearrt.app.launch import Launchable
from pearrt.app.news import lines
from pearrt.app.run import Daemon as RunDaemon
from pearrt.app.run import Person, run
from pearrt.cli.freshness import freshness_text
from pearrt.cli.options import LinkOrFileType, Network, network_options
from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.progress import ProgressBar
from pearrt.errors import Denied, Expired, UserError
from pearrt.link import Link
from pearrt.sandbox.kinds import warnings
from pearrt.sandbox.policy import parse_optional


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
@click.option(
    "--grant",
    "grants",
    multiple=True,
    metavar="PERMISSION",
    help="Give this permission, without a question; of the optional ones, only those named so.",
)
@click.option(
    "--no-sandbox", is_flag=True, help="For a FOLDER of your own only: run it with all rights that you have."
)
@network_options
def command(
    output: Output,
    link: Link | Path,
    arguments: tuple[str, ...],
    yes: bool,
    update: bool,
    allow_stale: bool,
    grants: tuple[str, ...],
    no_sandbox: bool,
    network: Network,
) -> int:
    """Run an app by its link, from a .pear file, or a folder of your own.

    The first time, the app is found through peers, verified against its signers and installed; you see who
    signed it and what it may do, and approve once. Later it starts at once from disk and is kept current in
    the background. ARGUMENTS are the app's. The exit code is the app's; stdin and stdout are the app's too,
    so --json speaks on stderr. LINK may be the path of a .pear file: it is verified by the same rules,
    without any network. Or a folder of your own, such as ./my-app: it runs as it will once it is released.
    """
    if isinstance(link, Path) and link.is_dir():
        return _run_folder(output, link, arguments, contained=not no_sandbox)
    if no_sandbox:
        raise UserError("--no-sandbox is for a folder of your own: what comes from others is contained.")
    daemon: RunDaemon = network.daemon()
    if isinstance(link, Path):
        from pearrt.cli.from_file import FromFile

        daemon = FromFile(network.daemon(), link)
        link, update = daemon.link, True
    target = network.hinted(link)
    gives = [parse_optional(name) for name in grants]
    with ProgressBar(shown=not output.as_json) as bar:
        person = Person(
            approve=lambda app: _approve(output, app, bar, yes=yes, gives=gives),
            tell=lambda app: _tell(output, app, bar),
            show=lambda url: _show(output, url),
            interactive=_asks(output) and not yes and not gives,
            gives=gives,
        )

        def start(stale: bool) -> int:
            return run(
                target,
                daemon,
                arguments,
                person=person,
                report=bar,
                update=update,
                allow_stale=stale,
            )

        try:
            return start(allow_stale)
        except Expired as e:
            if not _asks(output):
                raise Expired(e.message, hint="Pass --allow-stale to install it all the same.") from e
            if not click.confirm(f"{printable(e.message)} Install it all the same?", err=True):
                raise
            return start(True)


def _run_folder(output: Output, folder: Path, arguments: tuple[str, ...], *, contained: bool) -> int:
    """A project of the person's own, before it is released."""
    from pearrt.app.local import run_folder
    from pearrt.daemon.own_folder import OwnFolder
    from pearrt.paths import Home

    if not contained:
        output.say(click.style("no sandbox: ", fg="red", bold=True) + "it has all rights that you have")
    show = partial(_show, output)
    home = Home.from_environment()
    return run_folder(folder, arguments, home, show=show, answering=OwnFolder, contained=contained)


def _tell(output: Output, app: Launchable, bar: ProgressBar) -> None:
    """What changed since the last start, and what its signers warn of."""
    bar.__exit__(None, None, None)
    if output.as_json:
        return
    for line in lines(app.news, app.name) if app.news is not None else ():
        click.echo(printable(line), err=True)
    if app.revoked:
        warning = f"{app.name} {app.version} was revoked by its signers: {app.revoked}"
        click.secho(printable(warning), fg="yellow", err=True)
    if app.contradiction and app.granted:
        click.echo(_warning(app.contradiction), err=True)


def _approve(
    output: Output, app: Launchable, bar: ProgressBar, *, yes: bool, gives: Collection[str]
) -> Collection[str] | None:
    """Shows who signed and what is asked for; what the person refuses of it, None for no. Without a terminal
    only --yes is a yes, and --grant one to just what it names."""
    bar.__exit__(None, None, None)
    if not output.as_json:
        click.echo(_question(app), err=True)
    if yes:
        return ()
    if gives:
        return _left(app, gives)
    if not _asks(output):
        why = "--json asks nothing" if output.as_json else "there is no terminal to ask on"
        raise Denied(
            f"{printable(app.name)} needs your approval and {why}.",
            hint="Run it in a terminal once, or pass --yes; --grant PERMISSION gives just what it names.",
        )
    if app.manifest.kind == "exec":  # the strongest question: a yes by habit does not answer it
        name = printable(app.name)
        click.echo(f"  {name} is a native program. Run it only if you trust who signed it.", err=True)
        said = click.prompt(f"Type its name ({name}) to run it", default="", show_default=False, err=True)
        return () if said.strip() == name.strip() else None
    return () if click.confirm("Run it?", err=True) else None


def _asks(output: Output) -> bool:
    """Whether the person can be asked: --json shows them nothing, so it asks nothing either."""
    return sys.stdin.isatty() and not output.as_json


def _left(app: Launchable, gives: Collection[str]) -> list[str]:
    """What of the optional permissions --grant does not name."""
    given = set(app.permissions.optional()) - set(app.permissions.without(gives).optional())
    return [name for name in app.permissions.optional() if name not in given]


def _show(output: Output, url: str) -> None:
    """Opens the app's page in the browser, or tells its address, which is good for one browser, once."""
    if not output.as_json and sys.stderr.isatty() and _has_browser():
        import webbrowser

        if webbrowser.open(url):
            return
    output.result({"url": url}, f"Its page: {url}")


def _has_browser() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _changes_kind(app: Launchable) -> bool:
    return app.kind_before not in ("", app.manifest.kind)


def _warning(contradiction: str) -> str:
    return click.style(f"  WARNING: its keys were misused: {printable(contradiction)}", fg="red", bold=True)


def _question(app: Launchable) -> str:
    freshness = freshness_text(app.freshness, app.confirmed_at, app.confirmed_by, app.newer_at)
    rows = [
        click.style(f"{printable(app.name)} {printable(app.version)}", bold=True),
        *(["  an update that asks for more than you approved"] if app.approved_before is not None else []),
        *([f"  it was of kind {app.kind_before}, now {app.manifest.kind}"] if _changes_kind(app) else []),
        f"  signed by {printable(', '.join(app.signed_by))}; it takes {app.threshold} of {len(app.signers)}",
        f"  {freshness}",
        *([_warning(app.contradiction)] if app.contradiction else []),
        *(click.style(f"  {line}", fg="yellow") for line in warnings(app.manifest, sys.platform)),
        "  It may:",
    ]
    before = app.approved_before.describe() if app.approved_before is not None else None
    for line in app.permissions.describe():
        new = before is not None and line not in before
        rows.append(f"    {'+' if new else '-'} {printable(line)}{', which is new' if new else ''}")
    return "\n".join(rows)

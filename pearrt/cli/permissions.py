"""`pearrt permissions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.options import LinkType, link_argument, open_daemon
from pearrt.cli.output import Output, printable, speaking
from pearrt.errors import SandboxError
from pearrt.link import Link
from pearrt.sandbox.policy import parse_optional

if TYPE_CHECKING:
    from pearrt.daemon.caller import Daemon


@click.group(name="permissions")
def command() -> None:
    """Show and take back what apps may do.

    A permission that is taken back is refused from that moment on, also to an app that runs: it is told, and
    its connections are cut. `pearrt run --grant PERMISSION` gives it again.
    """


@speaking(name="list")
@click.argument("link", type=LinkType(), required=False)
def list_(output: Output, link: Link | None) -> None:
    """List what each app asked for and was given; of one app with LINK."""
    daemon = open_daemon()
    if link is not None:
        found = daemon.permissions(link)
        output.result(found, lambda: _text(found))
        return
    every = [_of(daemon, app) for app in daemon.apps() if app["version"] is not None]
    output.result(every, lambda: "\n".join(map(_text, every)) or "No app is installed.")


def _of(daemon: Daemon, app: dict[str, Any]) -> dict[str, Any]:
    """One of them all, of which none keeps the others from being shown."""
    try:
        return daemon.permissions(Link.parse(app["link"]))
    except SandboxError as e:
        return {key: app[key] for key in ("link", "name", "version")} | {"error": e.as_dict()}


@speaking(name="revoke")
@link_argument
@click.argument("permissions", nargs=-1)
def revoke(output: Output, link: Link, permissions: tuple[str, ...]) -> None:
    """Take permissions back, at once.

    PERMISSIONS are names as `list` shows them: notify, net.hosts, or one host:port. Without any the whole
    approval is taken back: the next start asks again.
    """
    taken = open_daemon().revoke(link, [parse_optional(name) for name in permissions])
    said = f"Taken back: {', '.join(taken)}." if taken else "Taken back."
    output.result({"revoked": taken}, said)


command.add_command(list_)
command.add_command(revoke)


def _text(app: dict[str, Any]) -> str:
    head = f"{printable(app['name'])} {printable(app['version'])}  {app['link']}"
    if "error" in app:
        return f"{head}\n  {printable(app['error']['message'])}"
    rows = [head, "  approved" if app["approved"] else "  not approved: the next start asks"]
    rows += [f"  may {line}" for line in app["shares"]]
    rows += [f"  {name:<24} {state}" for name, state in app["permissions"].items()]
    return "\n".join(rows)

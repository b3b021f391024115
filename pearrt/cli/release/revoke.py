"""`pearrt release revoke`, `pearrt release reinstate` and `pearrt release return`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from pearrt.cli.options import link_argument, open_daemon
from pearrt.cli.output import Output, speaking
from pearrt.cli.release.request import known_base
from pearrt.cli.release.request_file import file_named, output_option, write_request
from pearrt.cli.release.room import room_option
from pearrt.cli.release.terms import channel_option
from pearrt.errors import UserError
from pearrt.link import Link
from pearrt.paths import Home

ACTIONS = click.Choice(["warn", "stop", "return"])


@speaking(name="revoke")
@link_argument
@click.argument("named", metavar="VERSION|DIGEST")
@click.option("--action", type=ACTIONS, required=True, help="What installed copies do.")
@click.option("--reason", required=True, help="Why, for the people who have it: one line.")
@output_option
@room_option
def revoke(
    output: Output, link: Link, named: str, action: str, reason: str, target: Path | None, room: bool
) -> None:
    """Write a request that takes a release back.

    Nobody installs a revoked release any more. Installed copies warn, stop, or return to what is current.
    Revoking leaves the channel as it is: `pearrt release return`, or a newer release, says what to run
    instead.
    """
    from pearrt.app.drafting import draft_revocation
    from pearrt.publish.request import Request
    from pearrt.trust.revocation import Action

    home = Home.from_environment()
    base = known_base(home, link, open_daemon())
    draft = draft_revocation(base, home, named, action=Action(action), reason=reason, now=time.time())
    path = target or file_named(f"revoke-{named[:16]}")
    write_request(output, Request.of(base, draft), path, room=link if room else None)


@speaking(name="reinstate")
@link_argument
@click.argument("named", metavar="VERSION|DIGEST")
@output_option
@room_option
def reinstate(output: Output, link: Link, named: str, target: Path | None, room: bool) -> None:
    """Write a request that lifts a revocation."""
    from pearrt.app.drafting import draft_revocation
    from pearrt.publish.request import Request

    home = Home.from_environment()
    base = known_base(home, link, open_daemon())
    draft = draft_revocation(base, home, named, action=None, reason="", now=time.time())
    path = target or file_named(f"reinstate-{named[:16]}")
    write_request(output, Request.of(base, draft), path, room=link if room else None)


@speaking(name="return")
@link_argument
@click.argument("named", metavar="VERSION|DIGEST")
@channel_option
@click.option("--notes", default="", help="Why, for people.")
@click.option("--revoke", "action", type=ACTIONS, help="Also revoke what it replaces, with this action.")
@click.option("--reason", default="", help="With --revoke: why, in one line.")
@output_option
@room_option
def return_(
    output: Output,
    link: Link,
    named: str,
    channel: str,
    notes: str,
    action: str | None,
    reason: str,
    target: Path | None,
    room: bool,
) -> None:
    """Write a request that makes an older version current again.

    It comes as a new and higher version of the signed metadata, so nobody's protection against rollback
    stands in its way.
    """
    from pearrt.app.drafting import Terms, draft_return
    from pearrt.publish.request import Request
    from pearrt.trust.revocation import Action

    if bool(action) != bool(reason):
        raise UserError("--revoke and --reason belong together.")
    home = Home.from_environment()
    base = known_base(home, link, open_daemon())
    draft = draft_return(
        base,
        home,
        named,
        Terms(channel=channel, notes=notes),
        now=time.time(),
        revoking=(Action(action), reason) if action else None,
    )
    path = target or file_named(f"return-{named[:16]}")
    write_request(output, Request.of(base, draft), path, room=link if room else None)

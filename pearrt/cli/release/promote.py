"""`pearrt release promote` and `pearrt release channel`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from pearrt.cli.options import by_commas, link_argument, open_daemon
from pearrt.cli.output import Output, speaking
from pearrt.cli.release.request import known_base
from pearrt.cli.release.request_file import file_named, output_option, write_request
from pearrt.cli.release.room import room_option
from pearrt.cli.release.terms import parse_rollout, rollout_option
from pearrt.errors import UserError
from pearrt.link import Link
from pearrt.paths import Home


@speaking(name="promote")
@link_argument
@click.argument("source", metavar="FROM-CHANNEL")
@click.argument("channel", metavar="TO-CHANNEL")
@click.option("--notes", default="", help="What changed, where it is not what the release says.")
@click.option("--security", is_flag=True, help="It mends a hole: reaches everyone at once.")
@rollout_option
@output_option
@room_option
def promote(
    output: Output,
    link: Link,
    source: str,
    channel: str,
    notes: str,
    security: bool,
    rollout: str,
    target: Path | None,
    room: bool,
) -> None:
    """Write a request that makes a channel's releases current in another one.

    Nothing is uploaded again: it is the same bundle. The signers of TO-CHANNEL sign.
    """
    from pearrt.publish.channel import promote as draft
    from pearrt.publish.request import Request

    home = Home.from_environment()
    base, now = known_base(home, link, open_daemon()), time.time()
    steps = parse_rollout(rollout, now)
    made = draft(base, source, channel, now=now, rollout=steps, security=security, notes=notes)
    path = target or file_named(f"promote-{source}-{channel}")
    write_request(output, Request.of(base, made), path, offer=False, room=link if room else None)


@speaking(name="channel")
@link_argument
@click.argument("name", metavar="CHANNEL")
@click.option(
    "--signers",
    multiple=True,
    callback=by_commas,
    help="Its signers: public keys, .pub files or names, by commas.",
)
@click.option("--threshold", type=int, help="How many of them a release of the channel takes.")
@click.option("--take-back", is_flag=True, help="The app's signers sign it again.")
@output_option
@room_option
def channel(
    output: Output,
    link: Link,
    name: str,
    signers: tuple[str, ...],
    threshold: int | None,
    take_back: bool,
    target: Path | None,
    room: bool,
) -> None:
    """Write a request that gives a channel signers of its own, or takes it back.

    The app's signers and the channel's new ones sign it together. From then on the channel's signers release
    there without the app's; to revoke stays with the app's signers.
    """
    from pearrt.publish.channel import delegate_channel, take_channel_back
    from pearrt.publish.keys import find_public
    from pearrt.publish.request import Request

    home = Home.from_environment()
    base, now = known_base(home, link, open_daemon()), time.time()
    if take_back == bool(signers) or take_back == bool(threshold):
        raise UserError("Give --signers and --threshold, or --take-back.")
    if take_back:
        request = Request.of(base, take_channel_back(base, name, now=now))
    else:
        keys = [find_public(home.keys, each) for each in signers]
        change = delegate_channel(base, name, keys, threshold or 0, now=now)
        request = Request.of(base, change.targets, change.channel)
    path = target or file_named(f"channel-{name}")
    write_request(output, request, path, offer=False, room=link if room else None)

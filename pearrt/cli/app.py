"""`pearrt app`."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pearrt.cli.options import Keys, by_commas, key_options, link_argument, open_daemon
from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.release.request import known_base
from pearrt.cli.release.request_file import SUFFIX, output_option, write_request
from pearrt.cli.release.room import room_option
from pearrt.cli.release.witness import witness_options
from pearrt.errors import UserError
from pearrt.link import Link, decode_key
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.crypto.keyfile import PublicKey
    from pearrt.publish.app import NewApp
    from pearrt.publish.heartbeat import Heartbeat
    from pearrt.trust.authority import Authority

DAY_S = 86_400


@click.group(name="app")
def command() -> None:
    """Create an app: its link, signers and threshold. Change them later, with the same link."""


@speaking(name="new")
@click.option(
    "--signers",
    multiple=True,
    callback=by_commas,
    help="Public keys, .pub files or key names, separated by commas; may be repeated.",
)
@click.option("--threshold", type=int, help="How many signers a release takes.")
@click.option("--solo", is_flag=True, help="One signer, who signs alone: the one --key.")
@click.option(
    "--heartbeat-days",
    type=click.IntRange(0, 365),
    default=1,
    show_default=True,
    help="How often this machine confirms the newest release; 0 promises nothing.",
)
@witness_options
@key_options
@output_option
@room_option
def new(
    output: Output,
    signers: tuple[str, ...],
    threshold: int | None,
    solo: bool,
    heartbeat_days: int,
    witness: tuple[str, ...],
    witness_threshold: int | None,
    keys: Keys,
    target: Path | None,
    room: bool,
) -> None:
    """Create an app and print its link.

    The link stands for the signers and their threshold. A threshold of them signs the app's root right here,
    with --key; without --key a request is written, which they review and sign on machines of their own, and
    which this machine commits. Lose more keys than the threshold can spare, and no release can ever follow:
    the link stays, the app is frozen. Keep the keys on different machines, with different people.

    With --witness the link stands for witnesses as well: people who sign no release, but without whose having
    seen it nobody takes it, even where enough keys were stolen.
    """
    from pearrt.publish.app import APP_ID_BYTES, new_app
    from pearrt.publish.keys import find_public
    from pearrt.publish.publication import new_heartbeat

    names = keys.names if solo else signers
    if solo and (signers or threshold or len(keys.names) != 1):
        raise UserError("A solo app has one --key and no --signers or --threshold.")
    if not names or not (solo or threshold):
        raise UserError(
            "Name the signers and their threshold.", hint="--signers a.pub,b.pub,c.pub --threshold 2"
        )
    if room and keys.names:
        raise UserError("--room is for signers elsewhere; with --key the app is signed right here.")
    home = Home.from_environment()
    home.prepare()
    public = [find_public(home.keys, name) for name in names]
    heartbeat = new_heartbeat(heartbeat_days * DAY_S)
    app = new_app(
        public,
        1 if solo else threshold or 0,
        heartbeat=heartbeat.public,
        app_id=secrets.token_bytes(APP_ID_BYTES),
        now=time.time(),
        witnesses=_witnesses(home, witness, witness_threshold),
    )
    if keys.names:
        _create(output, home, app, heartbeat, keys.unlock())
    else:
        _ask(output, home, app, heartbeat, target, room)


def _create(output: Output, home: Home, app: NewApp, heartbeat: Heartbeat, seeds: list[bytes]) -> None:
    """Signs and makes the app here and now. Raises ThresholdNotMet."""
    from pearrt.crypto.keyfile import PublicKey
    from pearrt.publish.draft import sign
    from pearrt.publish.publication import Publication

    roots, targets = [sign(app.root, seed) for seed in seeds], [sign(app.targets, seed) for seed in seeds]
    publication = Publication.create(home.publishing, app, roots, targets, heartbeat, time.time())
    trusted, link = publication.trusted, str(Link(app.app_key))
    signers = [str(PublicKey(signer.public, signer.name)) for signer in trusted.signers]
    output.result({"link": link, "threshold": trusted.threshold, "signers": signers}, link)
    output.say(_losing(len(signers), trusted.threshold))
    output.say(
        f"{trusted.threshold} of {len(signers)} signers control it. Next: `pearrt stage`, then "
        f"`pearrt release publish`. Its heartbeat key is in {publication.folder}: "
        "it can confirm releases, never make one."
    )


def _ask(
    output: Output, home: Home, app: NewApp, heartbeat: Heartbeat, target: Path | None, room: bool
) -> None:
    """Writes the request for the first signatures; the heartbeat key waits here for the commit."""
    from pearrt.publish.desk import Desk
    from pearrt.publish.request import Request

    link = Link(app.app_key)
    (team,) = app.targets.authorities
    Desk.of(home.ceremonies, app.app_key).keep_heartbeat(heartbeat)
    write_request(
        output,
        Request.of_new_app(app.root, app.targets),
        target or Path(f"app-{link.key_text[:8]}{SUFFIX}"),
        offer=False,
        room=link if room else None,
        say=f"Its link, once it is committed here: {link}\n{_losing(len(team.signers), team.threshold)}",
    )


def _losing(signers: int, threshold: int) -> str:
    """What losing and stealing keys means, in numbers."""
    spare = signers - threshold
    lost = (
        f"{spare + 1} of the {signers} keys are lost"
        if spare
        else ("a single key is lost" if signers > 1 else "the one key or its password is lost")
    )
    frozen = f"If {lost}, nobody can ever release again: the link stays, the app is frozen."
    stolen = f"Whoever steals {threshold} can release anything."
    grow = " `pearrt app rotate` makes a team of it at any time, with the same link." if signers == 1 else ""
    return f"{frozen} {stolen}{grow}"


@speaking(name="rotate")
@link_argument
@click.option(
    "--add", multiple=True, metavar="[NAME=]KEY", help="A signer more: public key, .pub file, name."
)
@click.option("--remove", multiple=True, metavar="NAME", help="A signer less: name, key id or public key.")
@click.option("--threshold", type=int, help="How many signers a release takes from now on.")
@click.option("--heartbeat", is_flag=True, help="A new heartbeat key, which stays on this machine.")
@witness_options
@click.option("--no-witnesses", is_flag=True, help="Nobody has to see releases from now on.")
@output_option
@room_option
def rotate(
    output: Output,
    link: Link,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    threshold: int | None,
    heartbeat: bool,
    witness: tuple[str, ...],
    witness_threshold: int | None,
    no_witnesses: bool,
    target: Path | None,
    room: bool,
) -> None:
    """Write a request for other signers or witnesses, another threshold or heartbeat key.

    The link stays. The request wants the threshold of the signers before and of those after it; it is
    reviewed, signed, combined and committed like a release. When the heartbeat key was stolen, run this with
    --heartbeat on the machine that shall publish from now on: whatever the thief signed binds nobody then.

    --witness names all who are to be witnesses from then on. Those before have to see this step, too; where
    they are lost, every signer has to sign it, not just a threshold.
    """
    from pearrt.publish.desk import Desk
    from pearrt.publish.publication import is_published, new_heartbeat
    from pearrt.publish.request import Request
    from pearrt.publish.rotation import change_team
    from pearrt.publish.rotation import rotate as draft

    if not (add or remove or threshold or heartbeat or witness or no_witnesses):
        raise UserError(
            "Say what changes: --add, --remove, --threshold, --heartbeat, --witness or --no-witnesses."
        )
    if no_witnesses and witness:
        raise UserError("--witness and --no-witnesses exclude each other.")
    home = Home.from_environment()
    home.prepare()
    base = known_base(home, link, open_daemon())
    team = change_team(base, add=[_named_key(home, text) for text in add], remove=remove, threshold=threshold)
    (current,) = base.root.authorities["timestamp"].signers.values()
    public = current.public
    if heartbeat:
        # A thief may have signed another period: only what this machine promised itself is kept.
        ours = is_published(home.publishing, base.app_key)
        made = new_heartbeat(base.timestamp.period_s) if ours else new_heartbeat()
        Desk.of(home.ceremonies, base.app_key).keep_heartbeat(made)
        public = made.public
    rotation = draft(
        base,
        team.signers,
        team.threshold,
        heartbeat=public,
        now=time.time(),
        witnesses=_witnesses(home, witness, witness_threshold),
        unwitnessed=no_witnesses,
    )
    request = Request.of(base, rotation.root, rotation.targets)
    path = target or Path(f"root-{rotation.root.version}{SUFFIX}")
    say = _losing(len(team.signers), team.threshold)
    write_request(output, request, path, offer=False, room=link if room else None, say=say)


def _witnesses(home: Home, named: tuple[str, ...], threshold: int | None) -> Authority | None:
    """Whom --witness names; None for nobody. Raises UserError."""
    from pearrt.publish.app import witnesses_of

    if not named:
        if threshold is not None:
            raise UserError("--witness-threshold says how many of those whom --witness names; name them.")
        return None
    return witnesses_of([_named_key(home, text) for text in named], threshold or 0)


def _named_key(home: Home, text: str) -> PublicKey:
    """`NAME=KEY`, or a key that brings its own name. Raises UserError."""
    from pearrt.crypto.keyfile import PublicKey, check_comment
    from pearrt.publish.keys import find_public

    name, equals, key = text.partition("=")
    if not equals or name.startswith(("pearrt-key:", "ssh-")):
        return find_public(home.keys, text)
    return PublicKey(find_public(home.keys, key).key, check_comment(name))


@speaking(name="list")
def list_(output: Output) -> None:
    """List the apps that are published from this machine."""
    from pearrt.publish.publication import Publication, publications

    found = []
    for folder in publications(Home.from_environment().publishing):
        publication = Publication.open(folder)
        trusted = publication.trusted
        found.append(
            {
                "link": str(Link(decode_key(folder.name))),
                "signers": [signer.name for signer in trusted.signers],
                "threshold": trusted.threshold,
                "releases": {
                    release.path: f"{release.name} {release.version}" for release in trusted.releases
                },
                "waiting": publication.waiting.progress() if publication.waiting else None,
            }
        )
    output.result(found, lambda: "\n".join(_line(app) for app in found) or "None yet: `pearrt app new`.")


def _line(app: dict[str, object]) -> str:
    signers, releases = app["signers"], app["releases"]
    assert isinstance(signers, list)
    assert isinstance(releases, dict)
    words = [
        str(app["link"]),
        f"{app['threshold']} of {len(signers)}: {', '.join(signers)}",
        ", ".join(f"{release} for {path}" for path, release in releases.items()) or "no release yet",
        f"waiting: {app['waiting']}" if app["waiting"] else "",
    ]
    return printable("  ".join(word for word in words if word))


for subcommand in (new, rotate, list_):
    command.add_command(subcommand)

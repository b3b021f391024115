"""`pearrt app`."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import click

from pearrt.cli.options import key_options, unlock_keys
from pearrt.cli.output import Output, printable, speaking
from pearrt.errors import UserError
from pearrt.link import Link, decode_key
from pearrt.paths import Home

DAY_S = 86_400


@click.group(name="app")
def command() -> None:
    """Create an app: its link, signers and threshold."""


@speaking(name="new")
@click.option(
    "--signers",
    multiple=True,
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
@key_options
def new(
    output: Output,
    signers: tuple[str, ...],
    threshold: int | None,
    solo: bool,
    heartbeat_days: int,
    keys: tuple[str, ...],
    password_files: tuple[Path, ...],
) -> None:
    """Create an app and print its link.

    The link stands for the signers and their threshold. A threshold of them signs the app's root right here,
    with --key. Lose more keys than the threshold can spare, and no release can ever follow: the link stays,
    the app is frozen. Keep the keys on different machines, with different people.
    """
    from pearrt.crypto import ed25519
    from pearrt.publish.app import APP_ID_BYTES, new_app
    from pearrt.publish.draft import sign
    from pearrt.publish.keys import find_public
    from pearrt.publish.publication import Publication, new_heartbeat

    names = (
        keys if solo else tuple(name.strip() for part in signers for name in part.split(",") if name.strip())
    )
    if solo and (signers or threshold or len(keys) != 1):
        raise UserError("A solo app has one --key and no --signers or --threshold.")
    if not names or not (solo or threshold):
        raise UserError(
            "Name the signers and their threshold.", hint="--signers a.pub,b.pub,c.pub --threshold 2"
        )
    home = Home.from_environment()
    home.prepare()
    public = [find_public(home.keys, name) for name in names]
    heartbeat = new_heartbeat(heartbeat_days * DAY_S)
    now = time.time()
    app = new_app(
        public,
        1 if solo else threshold or 0,
        heartbeat=ed25519.public_key(heartbeat.seed),
        app_id=secrets.token_bytes(APP_ID_BYTES),
        now=now,
    )
    seeds = unlock_keys(keys, password_files)
    roots, targets = [sign(app.root, seed) for seed in seeds], [sign(app.targets, seed) for seed in seeds]
    publication = Publication.create(home.publishing, app, roots, targets, heartbeat, now)
    link = str(Link(app.app_key))
    output.result(
        {"link": link, "threshold": publication.trusted.threshold, "signers": [str(key) for key in public]},
        link,
    )
    output.say(
        f"{publication.trusted.threshold} of {len(public)} signers control it. Next: `pearrt stage`, then "
        f"`pearrt release publish`. Its heartbeat key is in {publication.folder}: "
        "it can confirm releases, never make one."
    )


@speaking(name="list")
def list_(output: Output) -> None:
    """List the apps that are published from this machine."""
    from pearrt.publish.publication import Publication, publications

    found = []
    for folder in publications(Home.from_environment().publishing):
        trusted = Publication.open(folder).trusted
        found.append(
            {
                "link": str(Link(decode_key(folder.name))),
                "signers": [signer.name for signer in trusted.signers],
                "threshold": trusted.threshold,
                "releases": {
                    release.path: f"{release.name} {release.version}" for release in trusted.releases
                },
            }
        )
    output.result(found, lambda: "\n".join(_line(app) for app in found) or "None yet: `pearrt app new`.")


def _line(app: dict[str, object]) -> str:
    return printable(f"{app['link']}  {app['threshold']} of {app['signers']}  {app['releases']}")


for subcommand in (new, list_):
    command.add_command(subcommand)

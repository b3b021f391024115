"""`pearrt release publish`: all steps at once, for who has the key files at hand."""

from __future__ import annotations

import time
from pathlib import Path

import click

from pearrt.cli.options import key_options, link_argument, network_options, open_daemon, unlock_keys
from pearrt.cli.output import Output, printable, speaking
from pearrt.link import DEFAULT_CHANNEL, HostPort, Link
from pearrt.paths import Home


@speaking(name="publish")
@link_argument
@click.argument("bundle")
@click.option(
    "--channel", default=DEFAULT_CHANNEL, show_default=True, help="The line of releases that it heads."
)
@click.option("--version", help="Its version, where it is not the bundle's own.")
@click.option("--notes", default="", help="What changed, for people.")
@key_options
@network_options
def command(
    output: Output,
    link: Link,
    bundle: str,
    channel: str,
    version: str | None,
    notes: str,
    keys: tuple[str, ...],
    password_files: tuple[Path, ...],
    bootstrap: tuple[HostPort, ...],
    hosts: tuple[HostPort, ...],
    no_dht: bool,
) -> None:
    """Sign a staged bundle and publish it, with the key files at hand.

    BUNDLE is the digest that `pearrt stage` printed, or the beginning of it. Every --key adds a signature;
    with fewer than the app's threshold nothing is published. This machine then seeds the release, and peers
    hear of it at once.
    """
    from pearrt.app.stage import staged
    from pearrt.publish.draft import sign
    from pearrt.publish.publication import Publication
    from pearrt.publish.release import make_release

    home = Home.from_environment()
    record = staged(home, bundle)
    publication = Publication.open(home.publishing / link.key_text)
    now = time.time()
    draft = make_release(
        publication.trusted,
        name=record["name"],
        version=version or record["version"],
        index_digest=bytes.fromhex(record["digest"]),
        index_size=record["size"],
        index_blocks=tuple(map(bytes.fromhex, record["index_blocks"])),
        now=now,
        channel=channel,
        platform=record["platform"],
        notes=notes,
    )
    signatures = [sign(draft, seed) for seed in unlock_keys(keys, password_files)]
    publication = publication.commit(draft, signatures, now)
    open_daemon(bootstrap, hosts, no_dht).publish(link)
    signed_by = [signer.name for signer in publication.trusted.signed_by]
    result = {
        "link": str(link),
        "version": version or record["version"],
        "sequence": draft.version,
        "signed_by": signed_by,
    }
    text = f"{record['name']} {result['version']} is out, signed by {', '.join(signed_by)}."
    output.result(result, printable(f"{text} Run it: pearrt run {link}"))

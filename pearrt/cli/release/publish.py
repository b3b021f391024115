"""`pearrt release publish`: all steps at once, for who has the key files at hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from pearrt.cli.options import Keys, Network, key_options, link_argument, network_options
from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.release.terms import terms_options
from pearrt.cli.release.witness import show_waiting
from pearrt.link import Link
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.app.drafting import Terms


@speaking(name="publish")
@link_argument
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True)
@terms_options
@key_options
@network_options
def command(
    output: Output,
    link: Link,
    bundles: tuple[str, ...],
    terms: Terms,
    keys: Keys,
    network: Network,
) -> None:
    """Sign staged bundles and publish them, with the key files at hand.

    BUNDLE is the digest that `pearrt stage` printed, or the beginning of it; several, one for each platform,
    make one release. Every --key adds a signature; with fewer than the app's threshold nothing is published.
    This machine then seeds the release, and peers hear of it at once.
    """
    from pearrt.app.drafting import draft_release
    from pearrt.publish.ceremony import collect
    from pearrt.publish.changes import release_changes
    from pearrt.publish.commit import commit
    from pearrt.publish.desk import Desk
    from pearrt.publish.publication import Publication
    from pearrt.publish.request import Request
    from pearrt.publish.signers import SeedKey, answer

    home = Home.from_environment()
    base = Publication.open(home.publishing / link.key_text).trusted
    now = time.time()
    request = Request.of(base, draft_release(base, home, bundles, terms, now))
    answers = [answer(request, SeedKey(seed)) for seed in keys.unlock()]
    request = collect(request, answers)
    desk = Desk.of(home.ceremonies, link.app_key)
    publication = commit(request, home.publishing, desk, now)
    assert publication is not None  # it was opened above
    network.daemon().publish(link)
    desk.finish(request)
    if publication.waiting is not None:
        show_waiting(output, link, publication.waiting, {"link": str(link), "sequence": request.version})
        return
    (release, *_) = [change.after for change in release_changes(request) if change.after]
    signed_by = [signer.name for signer in publication.trusted.signed_by]
    result = {
        "link": str(link),
        "version": release.version,
        "sequence": request.version,
        "signed_by": signed_by,
    }
    text = f"{release.name} {release.version} is out, signed by {', '.join(signed_by)}."
    output.result(result, printable(f"{text} Run it: pearrt run {link}"))

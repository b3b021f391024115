"""`pearrt release review`."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.options import Network, network_options
from pearrt.cli.output import Output, speaking
from pearrt.cli.progress import ProgressBar
from pearrt.cli.release.request_file import read_request, request_argument
from pearrt.cli.release.shown import review_fields, review_text
from pearrt.errors import DigestMismatch, NetworkError, StoreError
from pearrt.link import Link
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.app.review import Bundle, Findings, Source
    from pearrt.publish.changes import ReleaseChange
    from pearrt.publish.request import Request
    from pearrt.store.service import Store
    from pearrt.trust.release import Release


@speaking(name="review")
@request_argument
@click.option(
    "--bundle",
    "paths",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="A .pear file or the sources, instead of fetching from peers; one for each platform.",
)
@click.option("--diff", "diffs", metavar="PATH", multiple=True, help="Show what changes in this text file.")
@network_options
def command(
    output: Output,
    where: Path | Link,
    paths: tuple[Path, ...],
    diffs: tuple[str, ...],
    network: Network,
) -> None:
    """Show what a request would change, computed on this machine.

    The bundle is fetched from peers, or taken from --bundle, and everything is computed again: the digest of
    its index from its blocks, every file, what is added, changed and removed, permissions, signers. Then come
    six words: all who hold this very request read the same ones. Sign when you agree with what you saw.
    """
    from pearrt.app.drafting import trusted_here
    from pearrt.publish.ceremony import collect
    from pearrt.publish.commit import check_current
    from pearrt.publish.desk import Desk
    from pearrt.publish.fingerprint import fingerprint

    home = Home.from_environment()
    home.prepare()
    daemon = network.daemon()
    request = read_request(where, daemon)
    request = collect(request.with_answers(()), request.answers)
    check_current(request, trusted_here(home, request.app_key))
    nodes = where.nodes if isinstance(where, Link) else ()
    link = network.hinted(Link(request.app_key), *nodes)
    desk = Desk.of(home.ceremonies, request.app_key)
    if not desk.knows(request):
        desk.keep(request)
    with ProgressBar(shown=not output.as_json) as bar, Workshop.open(home, paths) as workshop:
        workshop.daemon, workshop.link, workshop.report = daemon, link, bar
        findings = workshop.look(request)
        texts = {path: _diff(findings, path) for path in diffs}
    words = fingerprint(request.digest)
    desk.reviewed(request, words, time.time())
    fields = review_fields(request, findings, words, texts)
    output.result(fields, lambda: review_text(request, findings, words, texts, time.time()))
    how = where if isinstance(where, Path) else f"'{where}' --post"
    output.say(f"Agreed? `pearrt release sign {how}` signs it.")


class Workshop:
    """A private folder in which bundles are taken apart, and the places they come from."""

    daemon: Any
    link: Link
    report: Any

    def __init__(self, folder: Path, store: Store | None, sources: list[Source]) -> None:
        self.folder = folder
        self.store = store
        self.sources = sources

    @classmethod
    @contextlib.contextmanager
    def open(cls, home: Home, paths: tuple[Path, ...]) -> Iterator[Workshop]:
        """Everything unpacked is gone afterwards."""
        from pearrt.app.review import open_source

        with (
            tempfile.TemporaryDirectory(prefix="review-", dir=home.data) as name,
            contextlib.ExitStack() as stack,
        ):
            folder = Path(name)
            sources = [stack.enter_context(open_source(path, folder)) for path in paths]
            yield cls(folder, _open_store(home, stack), sources)

    def look(self, request: Request) -> list[Findings]:
        """Recomputes every bundle that the request brings. Raises DigestMismatch, NoPeers, …"""
        from pearrt.publish.changes import release_changes

        changed = [change for change in release_changes(request) if change.bundle is not None]
        self._check_sources(changed)
        return [self._examine(change) for change in changed]

    def _check_sources(self, changed: list[ReleaseChange]) -> None:
        """Raises DigestMismatch where what was staged from sources is none of the bundles of the request."""
        wanted = {change.bundle.index_digest: change.path for change in changed if change.bundle}
        for source in self.sources:
            if source.digests and not source.digests & wanted.keys():
                (digest,) = source.digests
                named = ", ".join(f"{each.hex()[:16]}… for {path}" for each, path in wanted.items())
                raise DigestMismatch(
                    f"{source.name} gives the index {digest.hex()[:16]}…, not {named or 'a requested one'}.",
                    hint="Do not sign, unless you know why: are these the very sources, and the same zstd?",
                )

    def _examine(self, change: ReleaseChange) -> Findings:
        from pearrt.app.review import examine, recompute

        assert change.bundle is not None
        name, get_block = self._source_of(change.bundle)
        after = recompute(change.bundle, get_block, self.folder)
        findings = examine(change, name, after, self._before(change))
        return replace(findings, attested=self._attested(change.bundle))

    def _attested(self, release: Release) -> list[str]:
        """What those say who rebuilt the bundle from its sources, as far as their word is kept here."""
        from pearrt.app.drafting import trusted_here
        from pearrt.publish.attest import attestations, folder_of

        home = Home.from_environment()
        trusted = trusted_here(home, self.link.app_key)
        found = attestations(folder_of(home.data, self.link.app_key), trusted.signers if trusted else ())
        return [each.title for each in found if each.index_digest == release.index_digest]

    def _source_of(self, release: Release) -> tuple[str, Any]:
        """A name, and where the blocks are: sources or files that were given, else this store or peers."""
        from pearrt.app.review import holds, open_index

        for source in self.sources:
            if release.index_digest in source.digests:
                return source.name, source.get_block
            if not source.digests:
                with contextlib.suppress(StoreError):
                    open_index(release, source.get_block)
                    return source.name, source.get_block
        if self.store is not None and holds(release, self.store):
            return "this machine's store", self.store.get
        self.daemon.bring(self.link, release, self.report, whole=True)
        return "peers", self._opened().get

    def _before(self, change: ReleaseChange) -> Bundle | None:
        """The bundle of the release before, where it can be had."""
        from pearrt.app.review import holds, recompute

        if change.before is None:
            return None
        if self.store is None or not holds(change.before, self.store):
            try:
                self.daemon.bring(self.link, change.before, self.report, whole=True)
            except (NetworkError, StoreError):
                return None
        return recompute(change.before, self._opened().get, self.folder)

    def _opened(self) -> Store:
        """The store that the daemon fetched into."""
        from pearrt.store.service import Store

        if self.store is None:
            self.store = Store(Home.from_environment().store, read_only=True).open()
        return self.store


def _open_store(home: Home, stack: contextlib.ExitStack) -> Store | None:
    """The daemon's store, to read; None where there is none yet."""
    from pearrt.store.service import Store

    try:
        return stack.enter_context(Store(home.store, read_only=True))
    except StoreError:
        return None


def _diff(findings: list[Findings], path: str) -> list[str]:
    from pearrt.app.review import text_diff
    from pearrt.errors import UserError

    for each in findings:
        with contextlib.suppress(UserError):
            return text_diff(each, path)
    if findings:
        return text_diff(findings[0], path)
    raise UserError("The request brings no bundle, so there is nothing to compare.")

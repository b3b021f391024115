"""What `pearrt reproduce` and `pearrt attest` share: which bundle, from what, and how the two differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.options import Network, grouped
from pearrt.cli.output import Output, printable, size
from pearrt.cli.progress import ProgressBar
from pearrt.errors import UserError
from pearrt.link import Link
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.app.rebuild import Sources
    from pearrt.publish.reproduce import Reproduction
    from pearrt.trust.app import TrustedApp
    from pearrt.trust.release import Release

MAX_FILES_SHOWN = 50
_MARKS = {"added": "+", "changed": "~", "removed": "-"}


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """What is to be rebuilt: the bundle, by the start of its `digest`, and where its sources are."""

    folder: Path | None
    pypi: str
    pure: bool
    runtime: bool
    wheels: Path | None
    digest: str

    def sources(self) -> Sources:
        """Raises UserError for options that name none, or do not go together."""
        from pearrt.app.rebuild import Sources

        if (self.folder is None) == (not self.pypi):
            raise UserError("Name the sources: --from FOLDER, or --pypi NAME==VERSION.")
        if (self.runtime and self.folder is None) or (self.wheels and not self.runtime):
            raise UserError("--runtime goes with --from, and --wheels with --runtime.")
        return Sources(self.folder, self.pypi, self.pure, self.runtime, self.wheels)


rebuilding_options = grouped(
    "rebuilding",
    Rebuilding,
    click.option("--from", "folder", type=click.Path(path_type=Path), help="The folder of the sources."),
    click.option("--pypi", metavar="NAME==VERSION", default="", help="The PyPI package, instead."),
    click.option("--pure", is_flag=True, help="With --pypi: only wheels that run on every platform."),
    click.option("--runtime", is_flag=True, help="The sources are pearrt's own; its lock names the rest."),
    click.option(
        "--wheels",
        type=click.Path(path_type=Path),
        help="With --runtime: the folder of the locked wheels; those missing are fetched by pip.",
    ),
    click.option(
        "--digest", default="", help="The bundle, by the start of its digest; by default the newest one."
    ),
)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A release, and what its sources gave."""

    link: Link
    release: Release
    sources: Sources
    found: Reproduction

    def fields(self) -> dict[str, Any]:
        """What came of it, for `--json`."""
        found = self.found
        fates: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
        for change in found.files:
            fates[change.fate.value].append(change.path)
        return {
            "link": str(self.link),
            "release": self.release.path,
            "version": self.release.version,
            "outcome": found.outcome.value,
            "same": found.same,
            "released": found.released.hex(),
            "rebuilt": found.rebuilt.hex(),
            "files": fates,
            "manifest": list(found.manifest),
        }

    def text(self) -> str:
        """The same for people."""
        from pearrt.publish.reproduce import Outcome

        found, gives = self.found, f"{self.release.name} {self.release.version}: {self.sources} gives"
        if found.outcome is Outcome.IDENTICAL:
            return printable(f"{gives} the same bundle, byte for byte ({found.released.hex()}).")
        if found.outcome is Outcome.SAME_TREE:
            return printable(
                f"{gives} the same files and manifest; another version of the compressor packed them"
                f" ({found.released_tree.hex()})."
            )
        lines = [f"{gives} ANOTHER bundle. From what was released to what the sources give:"]
        for change in found.files[:MAX_FILES_SHOWN]:
            sizes = [size(count) for count in (change.old_size, change.new_size) if count is not None]
            lines.append(f"  {_MARKS[change.fate.value]} {change.path}  {' -> '.join(sizes)}")
        if (more := len(found.files) - MAX_FILES_SHOWN) > 0:
            lines.append(f"  … and {more} more; --json lists all")
        if found.manifest:
            lines.append(f"  the manifest differs in {', '.join(found.manifest)}")
        return printable("\n".join(lines))


def rebuild(output: Output, link: Link, rebuilding: Rebuilding, network: Network) -> Rebuilt:
    """Rebuilds a release, or the bundle of a request that waits for signatures, whose index is fetched if
    need be. Raises UserError for sources that give no bundle."""
    from pearrt.app.drafting import base_of
    from pearrt.app.rebuild import reproduce
    from pearrt.app.review import open_index
    from pearrt.store.service import Store

    sources, daemon = rebuilding.sources(), network.daemon()
    hinted, home = network.hinted(link), Home.from_environment()
    with ProgressBar(shown=not output.as_json) as bar:
        daemon.info(hinted)
        release = _pick(base_of(home, link.app_key), home, link, rebuilding.digest)
        daemon.bring(hinted, release, bar, whole=False)
        with Store(home.store, read_only=True) as store:
            index = open_index(release, store.get)
        return Rebuilt(link, release, sources, reproduce(index, sources, bar))


def _pick(trusted: TrustedApp, home: Home, link: Link, digest: str) -> Release:
    from pearrt.app.candidates import candidates
    from pearrt.platform_tag import platform_tags

    if not digest:
        release = trusted.release(link.channel, platform_tags())
        if release is None:
            raise UserError(f"The app has no release in its channel {link.channel!r}.")
        return release
    known = {release.index_digest: release for release in trusted.releases}
    known |= {each.before.index_digest: each.before for each in trusted.releases if each.before}
    known = candidates(home, link.app_key) | known
    found = [release for key, release in known.items() if key.hex().startswith(digest)]
    if len(found) != 1:
        raise UserError(
            f"{len(found)} bundles of this app begin with {digest[:64]!r}.",
            hint="Those of current releases and of requests on this machine are known.",
        )
    return found[0]

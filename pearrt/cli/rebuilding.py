"""What `pearrt reproduce` and `pearrt attest` share: which bundle, from what, and how the two differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.output import printable, size
from pearrt.errors import UserError
from pearrt.link import Link
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.app.progress import Report
    from pearrt.app.rebuild import Sources
    from pearrt.bundle.index import Index
    from pearrt.daemon.caller import Daemon
    from pearrt.publish.reproduce import Reproduction
    from pearrt.trust.app import TrustedApp
    from pearrt.trust.release import Release

MAX_FILES_SHOWN = 50
_MARKS = {"added": "+", "changed": "~", "removed": "-"}


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where the sources are, and which bundle they should give."""
    options = (
        click.option("--from", "folder", type=click.Path(path_type=Path), help="The folder of the sources."),
        click.option("--pypi", metavar="NAME==VERSION", default="", help="The PyPI package, instead."),
        click.option("--pure", is_flag=True, help="With --pypi: only wheels that run on every platform."),
        click.option(
            "--runtime", is_flag=True, help="The sources are pearrt's own; its lock names the rest."
        ),
        click.option(
            "--wheels",
            type=click.Path(path_type=Path),
            help="With --runtime: the folder of the locked wheels; those missing are fetched by pip.",
        ),
        click.option(
            "--digest", default="", help="The bundle, by the start of its digest; by default the newest one."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Subject:
    """The bundle that is to be reproduced."""

    trusted: TrustedApp
    release: Release
    index: Index


def sources_of(
    folder: Path | None, pypi: str, pure: bool, runtime: bool = False, wheels: Path | None = None
) -> Sources:
    from pearrt.app.rebuild import Sources

    if (folder is None) == (not pypi):
        raise UserError("Name the sources: --from FOLDER, or --pypi NAME==VERSION.")
    if (runtime and folder is None) or (wheels and not runtime):
        raise UserError("--runtime goes with --from, and --wheels with --runtime.")
    return Sources(folder, pypi, pure, runtime, wheels)


def find_subject(daemon: Daemon, link: Link, digest: str, report: Report) -> Subject:
    """The bundle of a release, or of a request that waits for signatures; its index is fetched if need be."""
    from pearrt.app.drafting import base_of
    from pearrt.app.review import open_index
    from pearrt.store.service import Store

    daemon.info(link)
    home = Home.from_environment()
    trusted = base_of(home, link.app_key)
    release = _pick(trusted, home, link, digest)
    daemon.bring(link, release, report, whole=False)
    with Store(home.store, read_only=True) as store:
        return Subject(trusted, release, open_index(release, store.get))


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


def reproduction_fields(link: Link, subject: Subject, found: Reproduction) -> dict[str, Any]:
    """What came of it, for `--json`."""
    fates: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
    for change in found.files:
        fates[change.fate.value].append(change.path)
    return {
        "link": str(link),
        "release": subject.release.path,
        "version": subject.release.version,
        "outcome": found.outcome.value,
        "same": found.same,
        "released": found.released.hex(),
        "rebuilt": found.rebuilt.hex(),
        "files": fates,
        "manifest": list(found.manifest),
    }


def reproduction_text(subject: Subject, found: Reproduction, sources: Sources) -> str:
    """The same for people."""
    from pearrt.publish.reproduce import Outcome

    name = f"{subject.release.name} {subject.release.version}"
    if found.outcome is Outcome.IDENTICAL:
        return printable(f"{name}: {sources} gives the same bundle, byte for byte ({found.released.hex()}).")
    if found.outcome is Outcome.SAME_TREE:
        return printable(
            f"{name}: {sources} gives the same files and manifest; another version of the compressor packed"
            f" them ({found.released_tree.hex()})."
        )
    lines = [f"{name}: {sources} gives ANOTHER bundle. From what was released to what the sources give:"]
    for change in found.files[:MAX_FILES_SHOWN]:
        sizes = [size(count) for count in (change.old_size, change.new_size) if count is not None]
        lines.append(f"  {_MARKS[change.fate.value]} {change.path}  {' -> '.join(sizes)}")
    if (more := len(found.files) - MAX_FILES_SHOWN) > 0:
        lines.append(f"  … and {more} more; --json lists all")
    if found.manifest:
        lines.append(f"  the manifest differs in {', '.join(found.manifest)}")
    return printable("\n".join(lines))

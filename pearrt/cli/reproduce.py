"""`pearrt reproduce`."""

from __future__ import annotations

from pathlib import Path

from pearrt.cli.options import link_argument, network_options, open_daemon, with_nodes
from pearrt.cli.output import Output, speaking
from pearrt.cli.progress import ProgressBar
from pearrt.cli.rebuilding import (
    find_subject,
    reproduction_fields,
    reproduction_text,
    source_options,
    sources_of,
)
from pearrt.errors import DigestMismatch
from pearrt.link import HostPort, Link


@speaking(name="reproduce")
@link_argument
@source_options
@network_options
def command(
    output: Output,
    link: Link,
    folder: Path | None,
    pypi: str,
    pure: bool,
    runtime: bool,
    wheels: Path | None,
    digest: str,
    bootstrap: tuple[HostPort, ...],
    hosts: tuple[HostPort, ...],
    no_dht: bool,
) -> int:
    """Rebuild a release from its sources and say whether it is the same.

    The sources are staged as for `pearrt stage`: a project by its own [tool.pearrt] table, any other folder
    or package with what the release's manifest says of entry and permissions; pearrt itself, with --runtime,
    from its source tree and the wheels that its lock file names. Ends with 0 where files and
    manifest are the same, else with 4 and every difference.
    """
    from pearrt.app.rebuild import reproduce

    sources = sources_of(folder, pypi, pure, runtime, wheels)
    daemon = open_daemon(bootstrap, hosts, no_dht)
    with ProgressBar(shown=not output.as_json) as bar:
        subject = find_subject(daemon, with_nodes(link, *bootstrap, *hosts), digest, bar)
        found = reproduce(subject.index, sources, bar)
    output.result(
        reproduction_fields(link, subject, found), lambda: reproduction_text(subject, found, sources)
    )
    return 0 if found.same else DigestMismatch.exit_code

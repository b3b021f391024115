"""`pearrt reproduce`."""

from __future__ import annotations

from pearrt.cli.options import Network, link_argument, network_options
from pearrt.cli.output import Output, speaking
from pearrt.cli.rebuilding import Rebuilding, rebuild, rebuilding_options
from pearrt.errors import DigestMismatch
from pearrt.link import Link


@speaking(name="reproduce")
@link_argument
@rebuilding_options
@network_options
def command(
    output: Output,
    link: Link,
    rebuilding: Rebuilding,
    network: Network,
) -> int:
    """Rebuild a release from its sources and say whether it is the same.

    The sources are staged as for `pearrt stage`: a project by its own [tool.pearrt] table, any other folder
    or package with what the release's manifest says of entry and permissions; pearrt itself, with --runtime,
    from its source tree and the wheels that its lock file names. Ends with 0 where files and
    manifest are the same, else with 4 and every difference.
    """
    rebuilt = rebuild(output, link, rebuilding, network)
    output.result(rebuilt.fields(), rebuilt.text)
    return 0 if rebuilt.found.same else DigestMismatch.exit_code

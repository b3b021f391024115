"""`pearrt verify`."""

from __future__ import annotations

from pearrt.cli.options import link_argument, open_daemon
from pearrt.cli.output import Output, printable, speaking
from pearrt.errors import DigestMismatch
from pearrt.link import Link


@speaking(name="verify")
@link_argument
def command(output: Output, link: Link) -> None:
    """Check an installed app against its signatures, offline.

    Verifies the whole chain from the link: root metadata, thresholds, the signed index, every file on disk.
    """
    found = open_daemon().verify(link)
    if found["differences"]:
        shown = ", ".join(found["differences"][:5])
        raise DigestMismatch(
            printable(
                f"{len(found['differences'])} files of {found['name']} are not what was signed: {shown}."
            ),
            hint="Uninstall it and run it again.",
        )
    output.result(
        found, printable(f"{found['name']} {found['version']}: {found['files']} files are what was signed.")
    )

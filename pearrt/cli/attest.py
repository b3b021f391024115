"""`pearrt attest`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from pearrt.cli.options import Keys, Network, key_options, link_argument, network_options
from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.rebuilding import Rebuilding, rebuild, rebuilding_options
from pearrt.errors import UserError
from pearrt.link import Link
from pearrt.paths import Home


@speaking(name="attest")
@link_argument
@rebuilding_options
@key_options
@click.option("--add", type=click.Path(path_type=Path), help="Keep an attestation that somebody sent.")
@click.option("--list", "listing", is_flag=True, help="List the attestations that are kept here.")
@click.option("--output", "copy_to", type=click.Path(path_type=Path), help="Also write it to this file.")
@network_options
def command(
    output: Output,
    link: Link,
    rebuilding: Rebuilding,
    keys: Keys,
    add: Path | None,
    listing: bool,
    copy_to: Path | None,
    network: Network,
) -> None:
    """Rebuild a release from its sources and sign what came of it.

    Does what `pearrt reproduce` does, then signs the outcome, whichever it is, with one --key: an in-toto
    Statement in a DSSE envelope. It is kept on this machine, where `pearrt release review` shows it to the
    next signer; --output writes it for others, who keep it with --add.
    """
    home = Home.from_environment()
    if add is not None or listing:
        _add_or_list(output, home, link, add)
        return
    if len(keys.names) != 1:
        raise UserError("One --key signs an attestation.")
    from pearrt.app.rebuild import builder
    from pearrt.publish.attest import attest, folder_of, keep

    rebuilt = rebuild(output, link, rebuilding, network)
    (seed,) = keys.unlock()
    data = attest(
        seed,
        link.app_key,
        rebuilt.release,
        rebuilt.found,
        source=rebuilt.sources.name,
        builder=builder(),
        now=time.time(),
    )
    path = keep(folder_of(home.data, link.app_key), data)
    if copy_to is not None:
        from pearrt.atomic import write_file

        write_file(copy_to, data, mode=0o644)
    output.result(rebuilt.fields() | {"file": str(path)}, rebuilt.text)
    output.say(f"Signed and kept: {path}")


def _add_or_list(output: Output, home: Home, link: Link, add: Path | None) -> None:
    from pearrt.app.drafting import trusted_here
    from pearrt.publish.attest import attestations, folder_of, keep

    folder = folder_of(home.data, link.app_key)
    if add is not None:
        try:
            keep(folder, add.read_bytes())
        except OSError as e:
            raise UserError(f"Cannot read {add}: {e.strerror}.") from e
    trusted = trusted_here(home, link.app_key)
    found = attestations(folder, trusted.signers if trusted else ())
    fields: list[dict[str, Any]] = [
        {
            "digest": each.index_digest.hex(),
            "outcome": each.outcome.value,
            "signer": each.name,
            "source": each.source,
            "builder": each.builder,
            "made_at": int(each.made_at),
        }
        for each in found
    ]
    lines = [f"{each.index_digest.hex()[:12]}  {each.title}" for each in found]
    output.result(fields, printable("\n".join(lines)) or "None yet.")

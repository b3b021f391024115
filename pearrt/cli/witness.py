"""`pearrt witness`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from pearrt.cli.options import Keys, key_options
from pearrt.cli.output import Output, printable, speaking
from pearrt.errors import UserError
from pearrt.link import Link
from pearrt.paths import Home

SUFFIX = ".seen"


@speaking(name="witness")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@key_options
@click.option("--output", "-o", "target", type=click.Path(path_type=Path), help="Where to write the answer.")
def command(
    output: Output,
    files: tuple[Path, ...],
    keys: Keys,
    target: Path | None,
) -> None:
    """Vouch as a witness for having seen what an app is about to release.

    FILE is what the publisher sent; of several, all answers are given. Everything in it is verified from the
    app's key on, and held against all that this machine vouched for before: a witness cosigns one history and
    no other. It says "I have seen this", not "I like it". Prints the answer, one line that survives
    e-mail; send it back.
    """
    from pearrt.app.witnessing import witness
    from pearrt.atomic import write_file

    if len(keys.names) != 1:
        raise UserError("Name the one key to vouch with: --key NAME.")
    if target is not None and len(files) != 1:
        raise UserError("--output is for one FILE.")
    home = Home.from_environment()
    home.prepare()
    (seed,) = keys.unlock()
    results, lines = [], []
    for path in files:
        seen = witness(home, path, seed, time.time())
        where = target or path.with_name(f"{path.stem}.{seen.name}{SUFFIX}")
        write_file(where, f"{seen.answer}\n".encode(), mode=0o644)
        link = str(Link(seen.app_key))
        results.append(
            {
                "link": link,
                "file": str(where),
                "answer": str(seen.answer),
                "witness": seen.name,
                "sequence": seen.version,
                "releases": list(seen.releases),
                "cosigned": list(seen.cosigned),
            }
        )
        lines.append(str(seen.answer))
        what = ", ".join(seen.releases) or "no release"
        output.say(printable(f"Seen: statement {seen.version} of {link}: {what}. The answer is in {where}."))
    output.result(results, "\n".join(lines))

"""`pearrt release`: one file per step, imported when it is used."""

from __future__ import annotations

import click

from pearrt.cli.release import (
    combine,
    commit,
    promote,
    publish,
    request,
    review,
    revoke,
    sign,
    status,
    witness,
)


@click.group(name="release")
def command() -> None:
    """Prepare, review, sign and publish releases.

    \b
        request   writes a file that asks for signatures
        review    shows a signer what it changes, computed on their machine
        sign      gives an answer: a small file, or one line
        combine   collects answers, in any order
        commit    publishes what enough signers answered
        witness   publishes what waits for the app's witnesses, where it has some
    """


for step in (request, review, sign, combine, commit, witness, status, publish):
    command.add_command(step.command)
for asking in (revoke.revoke, revoke.reinstate, revoke.return_, promote.promote, promote.channel):
    command.add_command(asking)

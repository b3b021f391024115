"""`pearrt demo`."""

from __future__ import annotations

import asyncio

from pearrt.cli.output import Output, speaking


@speaking(name="demo")
def command(output: Output) -> None:
    """Show the whole line on this machine: publish, sign, run, update, seed.

    A private DHT, five signers, a seeder and nine machines, all on loopback, in about half a minute. It uses
    no network and leaves nothing behind.
    """
    from pearrt.demo.screen import Screen
    from pearrt.demo.story import tell

    with Screen(quiet=output.as_json) as screen:
        figures = asyncio.run(tell(screen))
    screen.summary(figures)
    if output.as_json:
        output.result(figures, "")

"""`pearrt pin`."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

import click

from pearrt.cli.options import DurationType
from pearrt.cli.output import Output, speaking
from pearrt.cli.versions import own_folder, policy_lines
from pearrt.errors import UserError
from pearrt.runtime.policy import Policy
from pearrt.runtime.state import RuntimeState

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]{0,63}")


@speaking(name="pin")
@click.argument("version", required=False)
@click.option("--channel", help="Follow this channel of pearrt's releases.")
@click.option("--delay", type=DurationType(), help="Take releases only when they are so old, such as 3d.")
@click.option("--off", is_flag=True, help="Take every newest release of the link's channel again, at once.")
def command(output: Output, version: str | None, channel: str | None, delay: int | None, off: bool) -> None:
    """Choose which versions of pearrt are taken, from which channel and when.

    With VERSION, that one and no other. Without arguments it shows what was chosen. Settings such as
    PEARRT_UPDATE_PIN take precedence.
    """
    if off and (version or channel or delay):
        raise UserError("--off takes back what the others say: give it alone.")
    folder = own_folder(output)
    state = folder.edit(lambda state: _changed(state, version, channel, delay, off=off))
    policy = asdict(Policy(state.pin, state.channel, state.delay_s, state.deferred_until))
    text = (
        "\n".join(policy_lines(policy))
        or "Nothing is pinned: the newest release of the link's channel comes."
    )
    output.result(policy, text)


def _changed(
    state: RuntimeState, version: str | None, channel: str | None, delay: int | None, *, off: bool
) -> RuntimeState:
    if off:
        return replace(state, pin="", channel="", delay_s=0)
    for value in (version, channel):
        if value is not None and not WORD.fullmatch(value):
            raise UserError(f"{value!r} names no version or channel of pearrt.")
    return replace(
        state,
        pin=state.pin if version is None else version,
        channel=state.channel if channel is None else channel,
        delay_s=state.delay_s if delay is None else delay,
    )

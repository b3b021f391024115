"""Options that say what a release is, besides its bundles."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.options import grouped
from pearrt.errors import UserError
from pearrt.link import DEFAULT_CHANNEL

if TYPE_CHECKING:
    from pearrt.app.drafting import Terms
    from pearrt.trust.rollout import RolloutStep

_STEP = re.compile(r"(?P<percent>[0-9]{1,3})%?(?:@(?P<count>[0-9]{1,5})(?P<unit>[hd]))?")
_UNIT_S = {"h": 3600, "d": 86_400}


rollout_option = click.option(
    "--rollout",
    default="",
    help="In stages: percent, and how long from now, such as 5%,25%@1d,100%@3d. Else all at once.",
)
channel_option = click.option(
    "--channel", default=DEFAULT_CHANNEL, show_default=True, help="The line of releases that it heads."
)


def _terms(rollout: str, **given: Any) -> Terms:
    from pearrt.app.drafting import Terms

    return Terms(**given, rollout=parse_rollout(rollout, time.time()))


# What a new release says of itself: a Terms. UserError for a rollout that is none.
terms_options = grouped(
    "terms",
    _terms,
    channel_option,
    click.option("--version", default="", help="Its version, where it is not the bundle's own."),
    click.option("--notes", default="", help="What changed, for people."),
    click.option("--security", is_flag=True, help="It mends a hole: reaches everyone at once."),
    click.option("--min-runtime", default="", help="The oldest pearrt that can run it, such as 0.3."),
    rollout_option,
)


def parse_rollout(text: str, now: float) -> tuple[RolloutStep, ...]:
    """`5%,25%@1d,100%@3d`: percent of machines, and hours or days from now. Raises UserError."""
    from pearrt.trust.rollout import RolloutStep

    steps = []
    for part in text.replace(" ", "").split(",") if text.strip() else ():
        match = _STEP.fullmatch(part)
        if match is None:
            raise UserError(
                f"{part[:40]!r} is no step of a rollout.", hint="Write it like 5%,25%@1d,100%@3d."
            )
        later_s = int(match["count"]) * _UNIT_S[match["unit"]] if match["count"] else 0
        steps.append(RolloutStep(float(int(now) + later_s), int(match["percent"])))
    return tuple(steps)

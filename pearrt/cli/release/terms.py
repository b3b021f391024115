"""Options that say what a release is, besides its bundles."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pearrt.errors import UserError
from pearrt.link import DEFAULT_CHANNEL

if TYPE_CHECKING:
    from pearrt.app.drafting import Terms
    from pearrt.trust.rollout import RolloutStep

_STEP = re.compile(r"(?P<percent>[0-9]{1,3})%?(?:@(?P<count>[0-9]{1,5})(?P<unit>[hd]))?")
_UNIT_S = {"h": 3600, "d": 86_400}


def terms_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a new release says of itself."""
    options = (
        channel_option,
        click.option("--version", help="Its version, where it is not the bundle's own."),
        click.option("--notes", default="", help="What changed, for people."),
        click.option("--security", is_flag=True, help="It mends a hole: reaches everyone at once."),
        click.option("--min-runtime", default="", help="The oldest pearrt that can run it, such as 0.3."),
        rollout_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


rollout_option = click.option(
    "--rollout",
    default="",
    help="In stages: percent, and how long from now, such as 5%,25%@1d,100%@3d. Else all at once.",
)
channel_option = click.option(
    "--channel", default=DEFAULT_CHANNEL, show_default=True, help="The line of releases that it heads."
)


def terms_of(options: dict[str, Any]) -> Terms:
    """The options as values; takes them out of `options`. Raises UserError for a rollout that is none."""
    from pearrt.app.drafting import Terms

    names = ("channel", "version", "notes", "security", "min_runtime", "rollout")
    given = {name: options.pop(name) for name in names}
    given["version"] = given["version"] or ""
    given["rollout"] = parse_rollout(given["rollout"], time.time())
    return Terms(**given)


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

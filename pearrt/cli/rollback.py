"""`pearrt rollback`."""

from __future__ import annotations

from typing import Any

import click

from pearrt.cli.options import LinkType, open_daemon
from pearrt.cli.output import Output, printable, speaking
from pearrt.link import Link


@speaking(name="rollback")
@click.argument("app", type=LinkType(), required=False)
def command(output: Output, app: Link | None) -> None:
    """Go back to the version before, of pearrt or of an app.

    Without APP it is pearrt itself that goes one step back. What is left is not installed again by itself:
    the next newer release is, and so is this one when you ask for it (`pearrt run --update`; of pearrt itself
    `pearrt update --retry`).
    """
    if app is None:
        found = _own()
        output.result(found, printable(f"pearrt {found['version']} runs again."))
        return
    stepped = open_daemon().roll_back(app)
    output.result(
        stepped,
        printable(
            f"{stepped['name']} {stepped['version']} runs at the next start; {stepped['left']} is left."
        ),
    )


def _own() -> dict[str, Any]:
    """Through the daemon, which makes way; without one by the state alone: it may be what does not start."""
    from pearrt.runtime import state as states
    from pearrt.runtime.layout import RuntimeFolder

    daemon = open_daemon()
    if daemon.running():
        return daemon.roll_back_runtime()
    state = RuntimeFolder(daemon.home.data).edit(
        lambda state: states.roll_back(state, "stepped back by hand")
    )
    return {"current": state.current, "version": state.name(state.current)}

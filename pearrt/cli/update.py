"""`pearrt update`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import click

from pearrt.cli.options import DurationType, open_daemon
from pearrt.cli.output import Output, ago, printable, speaking
from pearrt.cli.progress import ProgressBar
from pearrt.cli.versions import own_folder
from pearrt.errors import PearrtError, PeerTimeout, UserError

TRIAL_TIMEOUT_S = 3700.0  # above the longest trial that the settings allow
POLL_S = 0.1


@speaking(name="update")
@click.option("--no-wait", is_flag=True, help="Do not wait until the new version has stood its trial.")
@click.option(
    "--defer", type=DurationType(), help="Put updates off for so long, such as 12h or 3d; 0: no longer."
)
@click.option("--retry", is_flag=True, help="Take the newest version even though it failed here before.")
def command(output: Output, no_wait: bool, defer: int | None, retry: bool) -> None:
    """Bring pearrt itself up to date, or put that off.

    pearrt updates itself in the background; this looks now. The newest release is fetched from peers and
    verified like any app's, examines itself, and takes over from the running daemon while apps and transfers
    go on. If it does not stand its trial, the version before it returns by itself, and the one that failed is
    tried again with --retry only.
    """
    if defer is not None and retry:
        raise UserError("--defer puts updates off, --retry takes one now: give one of them.")
    if defer is not None:
        _defer(output, defer)
        return
    daemon = open_daemon()
    with ProgressBar(shown=not output.as_json) as bar:
        found = daemon.update_runtime(bar, retry=retry)
    if found["switches"] and not no_wait:
        _wait(found["version"])
        found["running"] = found["version"]
    output.result(found, lambda: printable(_text(found)))


def _text(found: dict[str, Any]) -> str:
    if not found["switches"]:
        return str(found["reason"])
    if found["running"] == found["version"]:
        return f"pearrt {found['version']} runs."
    return f"pearrt {found['version']} is taking over; `pearrt versions` shows how that goes."


def _wait(version: str) -> None:
    """Until the version on trial is confirmed. Raises PearrtError, with the reason, where it is not."""
    from pearrt.runtime.layout import RuntimeFolder

    folder = RuntimeFolder(open_daemon().home.data)
    deadline = time.monotonic() + TRIAL_TIMEOUT_S
    while (state := folder.read()).trial:
        if time.monotonic() > deadline:
            raise PeerTimeout(f"pearrt {version} is still on trial.", hint="`pearrt versions` tells more.")
        time.sleep(POLL_S)
    if state.name(state.current) != version:
        reason = next((why for digest, why in state.failed.items() if state.name(digest) == version), "")
        raise PearrtError(
            f"pearrt {version} did not stand its trial: {reason}",
            hint=f"pearrt {state.name(state.current)} runs on. `pearrt update --retry` tries it again.",
        )


def _defer(output: Output, seconds: int) -> None:
    until = int(time.time()) + seconds if seconds else 0
    own_folder(output).edit(lambda state: replace(state, deferred_until=until))
    text = f"Updates of pearrt are put off for {ago(seconds)}." if seconds else "Updates come as they come."
    output.result({"deferred_until": until}, text)

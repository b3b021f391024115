"""`pearrt daemon`."""

from __future__ import annotations

import time

import click

from pearrt.cli.options import open_daemon
from pearrt.cli.output import Output, ago, size, speaking
from pearrt.errors import PeerTimeout

STOP_TIMEOUT_S = 15.0


@click.group(name="daemon")
def command() -> None:
    """Start, stop and look at the background daemon.

    One daemon per user finds peers, fetches, verifies, seeds and updates. The other commands start it; it
    ends by itself an hour after the last app, unless it seeds without end. PEARRT_HOME=DIR gives another
    daemon its own state.
    """


@speaking(name="run")
def run(output: Output) -> int:
    """Run the daemon in the foreground, as a service manager wants it."""
    from pearrt.daemon.__main__ import main

    return main()


@speaking(name="start")
def start(output: Output) -> None:
    """Start the daemon in the background; does nothing when it runs."""
    status = open_daemon().status()
    output.result(status, f"The daemon runs: process {status['pid']}.")


@speaking(name="stop")
def stop(output: Output) -> None:
    """Stop the daemon; running apps go on without it."""
    daemon = open_daemon()
    if not daemon.running():
        output.result({"stopped": False}, "No daemon runs.")
        return
    daemon.stop()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while not daemon.ended():
        if time.monotonic() > deadline:
            raise PeerTimeout(
                f"The daemon is still there after {STOP_TIMEOUT_S:.0f} s.", hint="Its log may tell why."
            )
        time.sleep(0.02)
    output.result({"stopped": True}, "The daemon has stopped.")


@speaking(name="status")
def status(output: Output) -> int:
    """Show the daemon's addresses, DHT, store and apps; exit code 1 when none runs."""
    daemon = open_daemon()
    if not daemon.running():
        output.result({"running": False}, "No daemon runs.")
        return 1
    found = {"running": True, **daemon.status()}
    dht = "off" if found["dht"] is None else f"{found['dht']['nodes']} nodes"
    rows = {
        "process": f"{found['pid']}, up {ago(found['uptime_s'])}, pearrt {found['version']}",
        "peer": found["peer_id"],
        "address": "{}:{}".format(*found["address"]),
        "links": found["links"],
        "dht": dht,
        "store": f"{found['store']['blocks']} blocks, {size(found['store']['bytes'])}",
        "apps": f"{found['apps']} followed, {found['running_apps']} running",
    }
    output.result(found, lambda: "\n".join(f"{name:<8} {text}" for name, text in rows.items()))
    return 0


for subcommand in (run, start, stop, status):
    command.add_command(subcommand)

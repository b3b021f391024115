"""`pearrt list`."""

from __future__ import annotations

import time
from typing import Any

from pearrt.cli.options import open_daemon
from pearrt.cli.output import Output, ago, printable, speaking


@speaking(name="list")
def command(output: Output) -> None:
    """List the apps on this machine."""
    apps = open_daemon().apps()
    output.result(apps, lambda: "\n".join(map(_line, apps)) or "No apps yet: pearrt run pearrt://…")


def _line(app: dict[str, Any]) -> str:
    marks = [word for word in ("running", "seeding") if app[word]]
    marks += ["WARNING: keys misused, see info"] if app["contradiction"] else []
    version = app["version"] or "not installed"
    return printable(
        f"{app['name']:<20} {version:<12} {app['freshness']:<8} {_confirmed(app):<18} {app['link']}"
        f"  {' '.join(marks)}"
    ).rstrip()


def _confirmed(app: dict[str, Any]) -> str:
    if not app["confirmed_at"]:
        return ""
    by = f" by {app['confirmed_by']}" if app["confirmed_by"] else ""
    return f"{ago(time.time() - app['confirmed_at'])} ago{by}"

"""How every command speaks: data on stdout, talk on stderr, errors with the next step and their exit code.

With `--json` stdout holds one object, the envelope: `{"pearrt": 1, "ok": true, "result": …}` or
`{"pearrt": 1, "ok": false, "error": {"code", "message", "hint"}}`.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any, TextIO

import click

from pearrt.cli.main import INTERRUPTED
from pearrt.errors import PearrtError

ENVELOPE_VERSION = 1


class Output:
    """One command's mouth."""

    def __init__(self, *, as_json: bool, data: TextIO | None = None) -> None:
        self.as_json = as_json
        self.data = data or sys.stdout

    def result(self, value: Any, text: str | Callable[[], str]) -> None:
        """What the command found: `value` for scripts, `text` for people."""
        if self.as_json:
            self._write({"pearrt": ENVELOPE_VERSION, "ok": True, "result": value})
        else:
            click.echo(text if isinstance(text, str) else text(), file=self.data)

    def say(self, text: str) -> None:
        """Talk: never on stdout, silent with --json."""
        if not self.as_json:
            click.echo(text, err=True)

    def error(self, error: PearrtError) -> None:
        if self.as_json:
            self._write({"pearrt": ENVELOPE_VERSION, "ok": False, "error": error.as_dict()})
            return
        click.echo(click.style("error: ", fg="red", bold=True) + printable(error.message), err=True)
        if error.hint:
            click.echo(click.style("  try: ", fg="cyan") + printable(error.hint), err=True)

    def _write(self, envelope: dict[str, Any]) -> None:
        click.echo(json.dumps(envelope, ensure_ascii=False), file=self.data)


def printable(text: str) -> str:
    """`text` without control and direction-changing characters: names from outside may hold terminal
    escapes."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)


def speaking(**attributes: Any) -> Callable[[Callable[..., int | None]], click.Command]:
    """A click command that takes `--json`, is given an Output first, and ends with the exit code of its
    error."""
    data_is_stderr = attributes.pop("data_on_stderr", False)

    def wrap(function: Callable[..., int | None]) -> click.Command:
        @functools.wraps(function)
        def speak(*args: Any, as_json: bool, **options: Any) -> None:
            output = Output(as_json=as_json, data=sys.stderr if data_is_stderr else None)
            try:
                code = function(output, *args, **options)
            except PearrtError as e:
                output.error(e)
                code = e.exit_code
            except KeyboardInterrupt:
                output.say("interrupted")
                code = INTERRUPTED
            sys.exit(code or 0)

        option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object for scripts.")
        wrapped: click.Command = click.command(**attributes)(option(speak))
        return wrapped

    return wrap


def size(count: float) -> str:
    """Bytes for people: 1023 B, 1.0 KiB, …"""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def ago(seconds: float) -> str:
    """A time span for people: 40 s, 3 min, 5 h, 40 days."""
    for unit, length in (("day", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{max(0, int(seconds))} s"

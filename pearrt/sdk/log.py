"""Lines in the app's own log, `apps/<key>/app.log` under pearrt's data folder: for what the person should
find later and the terminal should not show. The log is bounded; the oldest lines go first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pearrt.sdk.channel import channel

if TYPE_CHECKING:
    import logging

MAX_CHARACTERS = 4096


def debug(text: str) -> None:
    write("debug", text)


def info(text: str) -> None:
    write("info", text)


def warning(text: str) -> None:
    write("warning", text)


def error(text: str) -> None:
    write("error", text)


def write(level: str, text: str) -> None:
    """One entry; longer text is cut. Raises sdk.Error."""
    channel().call("log.write", level=level, text=text[:MAX_CHARACTERS]).result()


def handler() -> logging.Handler:
    """For the standard library's logging: `logging.getLogger().addHandler(sdk.log.handler())`. What the
    daemon does not take is left to `logging` to report."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
            try:
                write(level if level in ("debug", "info", "warning") else "error", self.format(record))
            except Exception:
                self.handleError(record)

    return Handler()

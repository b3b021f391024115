"""Everything that a call can raise.

Error             .code (as pearrt's own, kebab-case)  .hint
  NotConnected    there is no daemon at the other end
  Denied          no permission, or the person said no
  TooMuch         called too often, or longer than is allowed
"""

from __future__ import annotations

from collections.abc import Mapping


class Error(Exception):
    """A call that failed: one sentence, a stable code, and the next step where there is one."""

    def __init__(self, message: str, *, code: str = "error", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        if hint:
            self.add_note(hint)  # a traceback shows it too


class NotConnected(Error):
    pass


class Denied(Error):
    pass


class TooMuch(Error):
    pass


_CLASSES = {"denied": Denied, "limit-exceeded": TooMuch}


def from_fields(fields: Mapping[str, object]) -> Error:
    """The error in the daemon's answer."""
    code = str(fields.get("code", "error"))
    made = _CLASSES.get(code, Error)
    return made(str(fields.get("message", "")), code=code, hint=str(fields.get("hint", "")))

"""Text on the person's clipboard. Needs the permission `clipboard`."""

from __future__ import annotations

from pearrt.sdk.channel import channel


def write(text: str) -> None:
    """Puts text on the clipboard: printable characters, newlines and tabs, as much as fits into a frame.

    Raises Denied without the permission, TooMuch for too much or too often, sdk.Error where there is none.
    """
    channel().call("clipboard.write", text=text).result()


def read() -> str:
    """The text on the clipboard, if the person says yes, which they are asked each time.

    Raises Denied where they say no or there is no terminal to ask on, else as `write`.
    """
    return str(channel().call("clipboard.read").result()["text"])

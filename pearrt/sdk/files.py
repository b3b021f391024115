"""Files of the person's, one at a time, each chosen by them. Needs the permission `files`.

An app never names a path nor learns one: it says what it wants a file for, the person chooses outside of the
sandbox, and the app gets the opened file.

    with sdk.files.open("The table to plot") as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8"))
    with sdk.files.open("The plot", mode="save", name="plot.svg") as file:
        file.write(drawing)
"""

from __future__ import annotations

import io
from typing import BinaryIO

from pearrt.sdk.channel import Reply, channel

READ, SAVE = "read", "save"


def open(purpose: str, mode: str = READ, *, name: str = "") -> BinaryIO:  # noqa: A001 - `files.open` says it
    """A binary file: open for reading, or, with `save`, empty and open for writing. Its `name` is the last
    part of its path. `purpose` is shown to the person, `name` suggested.

    Raises Denied where the person chose none or cannot be asked, TooMuch when asked too often.
    """
    return taken(channel().call("files.open", purpose=purpose, mode=mode, name=name))


def taken(reply: Reply) -> BinaryIO:
    """The file in an answer. Raises sdk.Error."""
    fields = reply.result()
    raw = io.FileIO(reply.file(), "rb" if fields["mode"] == READ else "wb")
    raw.name = str(fields["name"])
    return io.BufferedReader(raw) if fields["mode"] == READ else io.BufferedWriter(raw)

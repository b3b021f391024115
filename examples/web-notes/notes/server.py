"""The backend of a web app: answers the page's calls until the page's end of the stream is closed.

Frames are those of the app's channel: u32 big-endian length, then JSON. A call is {"id", "method", …}; its
answer {"id", "result"} or {"id", "error": {"code", "message", "hint"}}; anything without an id is an event.
"""

import contextlib
import json
import os
import socket
import sqlite3
from pathlib import Path


def main() -> None:
    store = sqlite3.connect(Path(os.environ["PEARRT_DATA"]) / "notes.db")
    store.execute("pragma journal_mode=wal")
    store.execute("create table if not exists notes (id integer primary key, text text not null)")
    page = socket.socket(fileno=int(os.environ["PEARRT_PAGE_FD"]))
    with (
        page,
        page.makefile("rwb") as stream,
        contextlib.suppress(KeyboardInterrupt),
    ):  # Ctrl-C is how it ends
        while head := stream.read(4):
            call = json.loads(stream.read(int.from_bytes(head)))
            for message in answer(store, call):
                data = json.dumps(message).encode()
                stream.write(len(data).to_bytes(4) + data)
            stream.flush()


def answer(store: sqlite3.Connection, call: dict) -> list[dict]:
    """The answer to a call, and an event for all open pages where something changed."""
    if call["method"] == "list":
        return [{"id": call["id"], "result": notes(store)}]
    if call["method"] == "add" and isinstance(call.get("text"), str) and 0 < len(call["text"]) <= 200:
        with store:
            store.execute("insert into notes (text) values (?)", [call["text"]])
        return [{"id": call["id"], "result": True}, {"notes": notes(store)}]
    return [
        {"id": call["id"], "error": {"code": "bad-call", "message": "list, or add with a text", "hint": ""}}
    ]


def notes(store: sqlite3.Connection) -> list[str]:
    return [text for (text,) in store.execute("select text from notes order by id")]

"""The backend of a web app: answers the page's calls, and tells every open page when the notes change."""

import sqlite3

from pearrt import sdk


def main() -> None:
    store = sqlite3.connect(sdk.storage.path() / "notes.db")
    store.execute("pragma journal_mode=wal")
    store.execute("create table if not exists notes (id integer primary key, text text not null)")

    def notes() -> list[str]:
        return [text for (text,) in store.execute("select text from notes order by id")]

    def add(text: str) -> None:
        if not 0 < len(text) <= 200:
            raise sdk.Error("A note has 1 to 200 characters.", code="bad-note")
        with store:
            store.execute("insert into notes (text) values (?)", [text])
        sdk.page.tell({"notes": notes()})

    sdk.page.serve({"list": notes, "add": add})

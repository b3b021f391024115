"""Datasette as an app with a page: it serves on the listening socket that the runtime gave it, and the
runtime brings the browser there."""

import os
import sqlite3
from pathlib import Path

import uvicorn
from datasette.app import Datasette


def main() -> None:
    path = Path(os.environ["PEARRT_DATA"]) / "cities.db"
    with sqlite3.connect(path) as store:
        store.execute("create table if not exists cities (name text primary key, people integer)")
        store.execute("insert or replace into cities values ('Ulm', 129000), ('Jena', 111000)")
    pages = Datasette([str(path)]).app()
    uvicorn.run(pages, fd=int(os.environ["PEARRT_UI_FD"]), log_level="warning", lifespan="on")

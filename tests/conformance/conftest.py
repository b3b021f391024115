"""A repository that is served, and a client that knows its first root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.repository import Client, PlainRepository, serving

Setup = Callable[..., Client]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Setup]:
    """A client whose repository is served; the client knows its first root."""
    opened = []

    def start(repository: PlainRepository | None = None, *, root: bytes | None = None) -> Client:
        repository = repository or PlainRepository()
        context = serving(repository)
        client = Client(repository, context.__enter__(), tmp_path / f"client{len(opened)}")
        opened.append(context)
        client.init(root)
        return client

    yield start
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def client(make: Setup) -> Client:
    return make()


@pytest.fixture
def repo(client: Client) -> PlainRepository:
    return client.repository

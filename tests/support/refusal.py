"""What tests of hostile metadata share: installing, bending a repository, and a refusal in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pearrt.trust.app import TrustedApp
from tests.support.repository import (
    NOW,
    ROLES,
    Document,
    Repository,
)

MAX_SECONDS = 2.0

each_role = pytest.mark.parametrize("role", ROLES)


@contextmanager
def refused(*errors: type[Exception], match: str | None = None) -> Iterator[None]:
    """The block raises one of `errors`, soon."""
    before = time.process_time()
    with pytest.raises(errors, match=match):
        yield
    assert time.process_time() - before < MAX_SECONDS


def install(repository: Repository, now: float = NOW) -> TrustedApp:
    return TrustedApp.first(repository.app_key, repository.metadata(), now)


def bent(repository: Repository, role: str, edit: Callable[[bytes], bytes]) -> Repository:
    repository.blob_edits[role] = edit
    return repository


def saying(repository: Repository, role: str, fields: Document) -> Repository:
    """Rightly signed by those who may, but with these fields."""
    repository[role].update(fields)
    if role == "root":
        repository.recommit_root()
    return repository

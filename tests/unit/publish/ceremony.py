"""Requests and answers of the team in conftest.py."""

from __future__ import annotations

from pearrt.publish.answer import Answer
from pearrt.publish.ceremony import collect
from pearrt.publish.publication import Publication
from pearrt.publish.request import Request
from pearrt.publish.signers import SeedKey, answer
from tests.unit.publish.conftest import draft_of, seed_of


def release_request(publication: Publication, version: str = "1.0", **fields: object) -> Request:
    return Request.of(publication.trusted, draft_of(publication.trusted, version, **fields))  # type: ignore[arg-type]


def answered(request: Request, *names: str) -> list[Answer]:
    return [answer(request, SeedKey(seed_of(name))) for name in names]


def signed_request(request: Request, *names: str) -> Request:
    return collect(request, answered(request, *names))

"""A witness's machine: what it vouched for outlives it, and it forgets nothing by accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from pearrt.app.witnessing import witness
from pearrt.crypto.hashes import sha256
from pearrt.errors import BadSignature, Corrupt, Equivocation, Locked, ProtocolViolation
from pearrt.link import encode_key
from pearrt.paths import Home
from pearrt.publish.witness_answer import WitnessRequest
from pearrt.store.lock import ProcessLock
from tests.support.repository import NOW, signing_key
from tests.support.witnessed_repository import WitnessedRepository


def seed_of(name: str) -> bytes:
    return bytes(signing_key(name))


def file_of(folder: Path, repository: WitnessedRepository) -> Path:
    path = folder / f"{len(repository.leaves)}-{sha256(repository.metadata().targets).hex()[:8]}.witness"
    metadata = repository.metadata()
    path.write_bytes(WitnessRequest(repository.app_key, metadata).encode())
    return path


@pytest.fixture
def repository() -> WitnessedRepository:
    repository = WitnessedRepository()
    repository.seeing = []  # nobody has seen it yet
    repository.release("1.0")
    return repository


def book_of(home: Home, repository: WitnessedRepository) -> Path:
    return home.data / "witness" / encode_key(repository.app_key)


def test_a_fork_is_refused_on_the_next_day_too_and_kept(
    home: Home, tmp_path: Path, repository: WitnessedRepository
) -> None:
    fork = repository.copy()
    seen = witness(home, file_of(tmp_path, repository), seed_of("wim"), NOW)
    assert (seen.name, seen.version, seen.cosigned) == ("Wim", 2, ("targets",))
    fork["targets"]["expires"] = "2031-01-01T00:00:00Z"
    forked = file_of(tmp_path, fork)
    for _ in range(2):
        with pytest.raises(Equivocation):
            witness(home, forked, seed_of("wim"), NOW)
    (kept,) = (book_of(home, repository) / "refused").iterdir()
    assert kept.read_bytes() == forked.read_bytes()
    repository.release("2.0")
    assert witness(home, file_of(tmp_path, repository), seed_of("wim"), NOW).version == 3


def test_evidence_is_bounded(home: Home, tmp_path: Path, repository: WitnessedRepository) -> None:
    witness(home, file_of(tmp_path, repository), seed_of("wim"), NOW)
    for day in range(1, 20):
        fork = repository.copy()
        fork["targets"]["expires"] = f"2031-01-{day:02}T00:00:00Z"
        with pytest.raises(Equivocation):
            witness(home, file_of(tmp_path, fork), seed_of("wim"), NOW)
    assert len(list((book_of(home, repository) / "refused").iterdir())) == 16


def test_a_damaged_book_is_no_empty_book(home: Home, tmp_path: Path, repository: WitnessedRepository) -> None:
    file = file_of(tmp_path, repository)
    witness(home, file, seed_of("wim"), NOW)
    book = book_of(home, repository) / "book.benc"
    book.write_bytes(book.read_bytes()[:100])
    with pytest.raises(Corrupt):
        witness(home, file, seed_of("wim"), NOW)


def test_a_strangers_key_leaves_nothing_behind(
    home: Home, tmp_path: Path, repository: WitnessedRepository
) -> None:
    with pytest.raises(BadSignature, match="none of the app's witnesses"):
        witness(home, file_of(tmp_path, repository), seed_of("mal"), NOW)
    assert not (book_of(home, repository) / "book.benc").exists()


def test_two_processes_do_not_vouch_at_once(
    home: Home, tmp_path: Path, repository: WitnessedRepository
) -> None:
    file = file_of(tmp_path, repository)
    witness(home, file, seed_of("wim"), NOW)
    lock = ProcessLock(book_of(home, repository) / "lock")
    lock.acquire()
    try:
        with pytest.raises(Locked):
            witness(home, file, seed_of("wim"), NOW)
    finally:
        lock.release()


def test_what_is_no_file_for_witnesses_is_told(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "x.witness"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ProtocolViolation):
        witness(home, path, seed_of("wim"), NOW)

"""Kills a ceremony at every system call in turn and at random moments, and looks at what is left: the old
release or the new one, never a mix, no key lost, and a second try that goes through. Run as a program:
forking is safe in a process without threads. Prints how many kills it survived.

    python -m tests.support.ceremony_crash FOLDER calls|moments
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pearrt.atomic import write_file
from pearrt.crypto import ed25519
from pearrt.link import encode_key
from pearrt.publish.answer import find_answers
from pearrt.publish.ceremony import collect, tally
from pearrt.publish.commit import commit
from pearrt.publish.desk import Desk
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.publication import Publication
from pearrt.publish.request import Request
from pearrt.publish.rotation import change_team, rotate
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MetadataSet
from tests.support.store_crash import crash_at, in_child
from tests.unit.publish.ceremony import answered
from tests.unit.publish.conftest import NOW, Team, draft_of, public_of, seed_of, signed

KILLS = 200
OLD_BEAT, NEW_BEAT = Heartbeat(seed_of("heartbeat")), Heartbeat(seed_of("another heartbeat"))


@dataclass(frozen=True)
class Place:
    """One try's folder: the publisher's, and the files that went to and fro."""

    root: Path

    @property
    def publishing(self) -> Path:
        return self.root / "publishing"

    @property
    def file(self) -> Path:
        return self.root / "a.request"

    @property
    def signed(self) -> Path:
        return self.root / "a.signed"

    def desk(self, app_key: bytes) -> Desk:
        return Desk.of(self.root / "ceremonies", app_key)


@dataclass(frozen=True)
class Case:
    """A kind of ceremony: what it starts from, and what it asks for."""

    name: str
    prepared: Callable[[Place], None]
    requested: Callable[[Place], Request]
    signers: tuple[str, ...] = ("ada", "bob", "cyd")


def publication(place: Place) -> Publication:
    return Publication.open(next(iter(place.publishing.glob("[a-z0-9]*"))))


def published(place: Place) -> None:
    """An app with one release."""
    made = Team(OLD_BEAT).publication(place.publishing)
    draft = draft_of(made.trusted, "1.0")
    made.commit(draft, signed(draft, "ada", "bob", "cyd"), NOW)


def release(place: Place) -> Request:
    trusted = publication(place).trusted
    return Request.of(trusted, draft_of(trusted, "2.0"))


def new_keys(place: Place) -> Request:
    """Another signer and another heartbeat, whose key waits on the desk."""
    trusted = publication(place).trusted
    place.desk(trusted.app_key).keep_heartbeat(NEW_BEAT)
    team = change_team(trusted, add=[public_of("fay")], remove=["eve"], threshold=3)
    rotation = rotate(trusted, team.signers, 3, heartbeat=ed25519.public_key(NEW_BEAT.seed), now=NOW)
    return Request.of(trusted, rotation.root, rotation.targets)


def new_app(place: Place) -> Request:
    new = Team(OLD_BEAT).new_app()
    place.desk(new.app_key).keep_heartbeat(OLD_BEAT)
    return Request.of_new_app(new.root, new.targets)


CASES = (
    Case("release", published, release),
    Case("keys", published, new_keys),
    Case("app", lambda place: None, new_app),
)


def ceremony(place: Place, case: Case) -> None:
    """Every step as the commands take it: request, review, sign, combine, commit. Each can be taken again."""
    if not place.file.exists():
        asked = case.requested(place)
        place.desk(asked.app_key).keep(asked)
        write_file(place.file, asked.encode())
    request = Request.decode(place.file.read_bytes())
    desk = place.desk(request.app_key)
    desk.reviewed(request, "six words", NOW)
    for name, answer in zip(case.signers, answered(request, *case.signers), strict=True):
        write_file(place.root / f"{name}.answer", f"{answer}\n".encode())
    answers = [(place.root / f"{name}.answer").read_bytes() for name in case.signers]
    combined = collect(request, [one for text in answers for one in find_answers(text)])
    write_file(place.signed, combined.encode())
    desk.keep(combined)
    made = commit(Request.decode(place.signed.read_bytes()), place.publishing, desk, NOW + 10)
    assert made is not None
    desk.finish(combined)


def prepare(place: Place, case: Case) -> None:
    place.root.mkdir(parents=True)
    case.prepared(place)


def check(place: Place, case: Case) -> None:
    """Old or new, never mixed; then the second try."""
    before = versions(place)
    assert before in STATES[case.name], f"{case.name}: {before} is neither old nor new"
    if place.file.exists():
        Request.decode(place.file.read_bytes())
    if place.signed.exists():
        combined = Request.decode(place.signed.read_bytes())
        assert tally(collect(combined.with_answers(()), combined.answers)).complete
    for answer in place.root.glob("*.answer"):
        assert len(find_answers(answer.read_bytes())) == 1
    ceremony(place, case)
    assert versions(place) == STATES[case.name][-1]
    done = publication(place)
    peer = TrustedApp.first(done.app_key, MetadataSet.decode(done.metadata.encode()), NOW + 20)
    assert peer.metadata == done.metadata
    assert done.refresh(NOW + 86_400).trusted.timestamp.version > done.trusted.timestamp.version
    assert not list(place.publishing.glob(".new-*"))


def versions(place: Place) -> tuple[object, ...]:
    """What a peer would be told: root and targets version, release, and which key confirms it."""
    found = sorted(place.publishing.glob("[a-z0-9]*")) if place.publishing.exists() else []
    if not found:
        return ("nothing",)
    made = publication(place)
    assert made.folder.name == encode_key(made.app_key)
    current = made.trusted.release()
    return (
        made.trusted.root_version,
        made.trusted.targets.version,
        current.version if current else None,
        "old" if made.heartbeat.seed == OLD_BEAT.seed else "new",
    )


STATES: dict[str, tuple[tuple[object, ...], ...]] = {
    "release": ((1, 2, "1.0", "old"), (1, 3, "2.0", "old")),
    "keys": ((1, 2, "1.0", "old"), (2, 3, "1.0", "new")),
    "app": (("nothing",), (1, 1, None, "old")),
}


def every_call(folder: Path) -> int:
    survived = 0
    for case in CASES:
        template = folder / case.name
        prepare(Place(template), case)
        number = 0
        while True:
            number += 1
            place = Place(folder / f"{case.name}-{number}")
            shutil.copytree(template, place.root)

            def work(place: Place = place, number: int = number, case: Case = case) -> None:
                crash_at(number)
                ceremony(place, case)

            _, status = os.waitpid(in_child(work), 0)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0
                break
            check(place, case)
            shutil.rmtree(place.root)
            survived += 1
    return survived


def random_moments(folder: Path) -> int:
    chosen = random.Random()
    templates = {case.name: folder / case.name for case in CASES}
    for case in CASES:
        prepare(Place(templates[case.name]), case)
    survived = 0
    for number in range(10 * KILLS):
        case = chosen.choice(CASES)
        place = Place(folder / str(number))
        shutil.copytree(templates[case.name], place.root)
        pid = in_child(lambda place=place, case=case: ceremony(place, case))
        time.sleep(chosen.uniform(0, chosen.choice((0.02, 0.05))))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        check(place, case)
        shutil.rmtree(place.root)
        survived += os.WIFSIGNALED(status)  # else it was faster
        if survived >= KILLS:
            break
    return survived


if __name__ == "__main__":
    print((every_call if sys.argv[2] == "calls" else random_moments)(Path(sys.argv[1])))

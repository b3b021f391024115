"""The plain profile is for the conformance suite alone: what it lets pass, the product does not."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

import pearrt
from pearrt.errors import ProtocolViolation
from pearrt.trust.envelope import Envelope
from pearrt.trust.metadata import Root, Snapshot, Targets, Timestamp
from pearrt.trust.profile import PEARRT, PLAIN
from tests.support.metadata_channels import with_channel
from tests.support.repository import Document, Repository, blob_of

KINDS = {"root": Root, "timestamp": Timestamp, "snapshot": Snapshot, "targets": Targets}


def test_nothing_in_the_product_names_the_plain_profile() -> None:
    package = Path(pearrt.__file__).parent
    naming = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"\bPLAIN\b", path.read_text())
    }
    assert naming == {"trust/profile.py"}
    assert PEARRT.strict


@pytest.mark.parametrize("role", KINDS)
def test_metadata_without_this_profiles_fields_is_read_plainly_and_refused_here(role: str) -> None:
    repository = Repository().release("1.0")
    metadata = repository.metadata()
    signed = Envelope.parse(role, metadata.roots[0] if role == "root" else getattr(metadata, role)).signed
    bare: Document = {name: value for name, value in signed.items() if not name.startswith("x-pearrt")}
    raw = blob_of(bare, ["ada"])
    assert KINDS[role].read(Envelope.parse(role, raw, profile=PLAIN)).version == signed["version"]
    with pytest.raises(ProtocolViolation):
        KINDS[role].read(Envelope.parse(role, raw))


def test_a_delegation_of_any_shape_is_read_plainly_and_refused_here() -> None:
    repository = with_channel(random.Random(1))
    role = repository["targets"]["delegations"]["roles"][0]
    role |= {"name": "any name at all", "paths": ["*", "a/*/c?"], "terminating": False}
    raw = blob_of(repository["targets"], ["ada"])
    (delegation,) = Targets.read(Envelope.parse("targets", raw, profile=PLAIN)).delegations
    assert [delegation.covers(path) for path in ("x", "x/y", "a/b/cd", "a/b/c")] == [True, False, True, False]
    with pytest.raises(ProtocolViolation):
        Targets.read(Envelope.parse("targets", raw))

"""Keys behind securesystemslib, and ones that give false signatures."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pearrt.crypto.keyfile import PublicKey
from pearrt.errors import BadSignature, UserError
from pearrt.publish.app import new_app
from pearrt.publish.ceremony import collect
from pearrt.publish.publication import Publication
from pearrt.publish.request import Request
from pearrt.publish.signers import SeedKey, UriKey, answer, pick
from tests.support.require import require_module
from tests.unit.publish.ceremony import release_request
from tests.unit.publish.conftest import NOW, public_of, seed_of


@pytest.fixture
def pem(tmp_path: Path) -> tuple[str, PublicKey]:
    """A private key as openssl writes it: PKCS #8 in PEM."""
    require_module("securesystemslib")
    ed = require_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = require_module("cryptography.hazmat.primitives.serialization")
    private = ed.Ed25519PrivateKey.generate()
    path = tmp_path / "zoe.pem"
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return f"file2:{path}", PublicKey(private.public_key().public_bytes_raw(), "zoe")


def test_a_securesystemslib_signer_answers_a_request(pem: tuple[str, PublicKey]) -> None:
    uri, public = pem
    new = new_app([public, public_of("ada")], 2, heartbeat=public_of("hb").key, app_id=bytes(16), now=NOW)
    request = Request.of_new_app(new.root, new.targets)
    answers = [answer(request, key) for key in (UriKey.open(uri, public), SeedKey(seed_of("ada")))]
    assert len(collect(request, answers).answers) == 2


def test_a_uri_that_holds_another_key_is_refused(pem: tuple[str, PublicKey]) -> None:
    with pytest.raises(UserError):
        UriKey.open(pem[0], public_of("ada"))


@pytest.mark.parametrize("uri", ["", "nonsense", "file2:/nowhere/at/all", "hsm:", "https://example.org"])
def test_a_uri_that_opens_nothing_says_so(pem: tuple[str, PublicKey], uri: str) -> None:
    with pytest.raises(UserError, match="No key could be opened"):
        UriKey.open(uri, pem[1])


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "securesystemslib.signer", None)
    with pytest.raises(UserError) as caught:
        UriKey.open("file2:x", public_of("ada"))
    assert "pearrt[hsm]" in caught.value.hint


@dataclass
class Liar:
    """Something that holds ada's key, and signs what it likes."""

    public: bytes = public_of("ada").key

    def sign(self, payload: bytes) -> bytes:
        return SeedKey(seed_of("ada")).sign(payload + b" and more")


def test_a_false_signature_never_leaves_this_machine(publication: Publication) -> None:
    with pytest.raises(BadSignature, match="does not verify"):
        answer(release_request(publication), Liar())


def test_of_several_keys_that_may_sign_one_has_to_be_named(publication: Publication) -> None:
    keys = [SeedKey(seed_of(name)) for name in ("ada", "bob", "mallory")]
    with pytest.raises(UserError, match="Several keys may sign: ada, bob"):
        pick(release_request(publication), keys)
    assert pick(release_request(publication), keys[1:]).public == public_of("bob").key

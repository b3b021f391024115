"""What holds a signer's private key: a key file's seed, an SSH agent, or a securesystemslib signer.

Each gives its public key and signs raw bytes. Whatever it is, what it returns is verified before it is used.
securesystemslib (an optional dependency, `pip install pearrt[hsm]`) opens keys by URI: `file2:` is a PEM
file, `hv:` HashiCorp Vault's transit engine, and other programs register more. Its signers for PKCS #11 and
for the cloud KMSs make other signatures than Ed25519 so far: such a key cannot be a signer of an app. Tokens
that speak Ed25519 are reached through an SSH agent (gpg-agent, `ssh-add -s`).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pearrt.crypto import ed25519
from pearrt.crypto.keyfile import PublicKey
from pearrt.errors import BadSignature, PearrtError, UserError
from pearrt.publish.answer import Answer
from pearrt.publish.ceremony import all_signers, drafts_of
from pearrt.publish.draft import display_name
from pearrt.publish.request import Request
from pearrt.trust.metadata import key_id

MISSING = "Signing through a URI needs securesystemslib."


class SigningKey(Protocol):
    """A private key that may be anywhere."""

    @property
    def public(self) -> bytes: ...

    def sign(self, payload: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class SeedKey:
    """A key file's seed, unlocked."""

    seed: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        return ed25519.public_key(self.seed)

    def sign(self, payload: bytes) -> bytes:
        return ed25519.sign(self.seed, payload)


@dataclass(frozen=True, slots=True)
class UriKey:
    """A securesystemslib signer."""

    public_key: PublicKey
    signer: Any

    @property
    def public(self) -> bytes:
        return self.public_key.key

    @classmethod
    def open(cls, uri: str, public: PublicKey) -> UriKey:
        """The signer behind a URI that holds this key. Raises UserError."""
        try:
            library = importlib.import_module("securesystemslib.signer")
        except ImportError as e:
            raise UserError(MISSING, hint="pip install 'pearrt[hsm]'") from e
        key = library.SSlibKey(key_id(public.key), "ed25519", "ed25519", {"public": public.key.hex()})
        try:
            return cls(public, library.Signer.from_priv_key_uri(uri, key))
        except Exception as e:  # each signer has exceptions of its own
            raise UserError(f"No key could be opened at {uri[:200]!r}: {e}") from e

    def sign(self, payload: bytes) -> bytes:
        try:
            return bytes.fromhex(self.signer.sign(payload).signature)
        except Exception as e:
            raise UserError(f"The key did not sign: {e}") from e


def answer(request: Request, key: SigningKey) -> Answer:
    """Signs all drafts that the key may sign.

    Raises BadSignature for a stranger's key, or where what holds the key gives a false signature.
    """
    given = []
    for position, draft in drafts_of(request, key.public):
        value = key.sign(draft.payload)
        if not ed25519.verify(key.public, draft.payload, value):
            raise BadSignature("What holds the key gave a signature that does not verify.")
        given.append((position, value))
    return Answer(request.digest, key.public, tuple(given))


def pick(request: Request, keys: Sequence[SigningKey]) -> SigningKey:
    """The one of these keys that may sign. Raises UserError where there is none, or more than one."""
    signers = all_signers(request)
    found = [key for key in keys if key.public in signers]
    if len(found) == 1:
        return found[0]
    names = ", ".join(display_name(signers[key.public]) for key in found)
    raise (
        _none(request)
        if not found
        else UserError(f"Several keys may sign: {names}.", hint="Name one with --as PUBLIC-KEY.")
    )


def _none(request: Request) -> PearrtError:
    names = ", ".join(display_name(signer) for signer in all_signers(request).values())
    return UserError("None of the agent's keys may sign this request.", hint=f"Signers: {names}.")

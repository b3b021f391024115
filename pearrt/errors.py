"""Every error pearrt raises on purpose.

    PearrtError            .code (stable, kebab-case)  .exit_code  .hint (the next step)
      UserError            bad link, bad argument, no such app
        BadLink              not a link, or a misspelt one
        NoSuchApp            nothing of that name is installed
      RemoteError          a peer or node broke the rules
        ProtocolViolation    bytes that no honest peer sends
        LimitExceeded        more, longer or deeper than the protocol allows
      TrustError           never retried, never a warning
        BadSignature         a signature that does not verify, or could be forged
        ThresholdNotMet      fewer distinct signers than the role demands
        Rollback             older than what was trusted before
        Expired              too old to install without the person's yes
        DigestMismatch       bytes that are not what was signed
        Equivocation         two signed statements of one version that differ
      NetworkError         nobody there, or nobody in time
        Unreachable          no connection to this address
        PeerTimeout          a peer stopped answering
        NoPeers              nobody was found who has it
      StoreError           the disk
        Full                 no space left
        Corrupt              stored bytes are no longer what they were
        Locked               another process is using it
        NoSuchBlock          not here, or no longer
      SandboxError         what runs must be contained
        Unsupported          this machine cannot contain the app
        Denied               not permitted, or not approved

A message says what happened and why; the hint says what to do next. Foreign exceptions are wrapped once, at
the edge, `from e`. Anything that is not a PearrtError is our own bug and shows a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class PearrtError(Exception):
    """Base of all errors raised on purpose.

    `message` is one sentence for a person; `hint`, where there is one, names the next step.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    hint: str = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        if hint:
            self.hint = hint

    def as_dict(self) -> dict[str, str]:
        """The error as `--json` and the local API show it: code, message, hint."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UserError(PearrtError):
    code, exit_code = "user-error", 2


class BadLink(UserError):
    code = "bad-link"
    hint = "Copy the link again; it starts with pearrt:// and its key has 55 letters and digits."


class NoSuchApp(UserError):
    code = "no-such-app"
    hint = "`pearrt list` shows what is installed."


class RemoteError(PearrtError):
    code, exit_code = "remote-error", 3


class ProtocolViolation(RemoteError):
    code = "protocol-violation"


class LimitExceeded(RemoteError):
    code = "limit-exceeded"


class TrustError(PearrtError):
    code, exit_code = "trust-error", 4


class BadSignature(TrustError):
    code = "bad-signature"


class ThresholdNotMet(TrustError):
    code = "threshold-not-met"


class Rollback(TrustError):
    code = "rollback"


class Expired(TrustError):
    code = "expired"


class DigestMismatch(TrustError):
    code = "digest-mismatch"


class Equivocation(TrustError):
    """`first` and `second` are the two signed blobs: together they prove it to anyone. Of two that stand in
    different histories, `evidence` shows where these part."""

    code = "equivocation"

    def __init__(
        self, message: str, *, hint: str = "", first: bytes = b"", second: bytes = b"", evidence: bytes = b""
    ) -> None:
        super().__init__(message, hint=hint)
        self.first = first
        self.second = second
        self.evidence = evidence


class NetworkError(PearrtError):
    code, exit_code = "network-error", 5


class Unreachable(NetworkError):
    code = "unreachable"


class PeerTimeout(NetworkError):
    code = "peer-timeout"


class NoPeers(NetworkError):
    code = "no-peers"
    hint = "Is anyone seeding it? Name a host that does with --host, or a DHT node with --bootstrap."


class StoreError(PearrtError):
    code, exit_code = "store-error", 6


class Full(StoreError):
    code = "store-full"
    hint = "Free some disk space, then `pearrt gc`."


class Corrupt(StoreError):
    code = "store-corrupt"
    hint = "`pearrt gc --fsck` drops damaged blocks; they are fetched again when needed."


class Locked(StoreError):
    code = "store-locked"


class NoSuchBlock(StoreError):
    code = "no-such-block"


class SandboxError(PearrtError):
    code, exit_code = "sandbox-error", 7


class Unsupported(SandboxError):
    code = "sandbox-unsupported"
    hint = "`pearrt doctor` says what is missing and how to get it."


class Denied(SandboxError):
    code = "denied"


def error_classes(root: type[PearrtError] = PearrtError) -> Iterator[type[PearrtError]]:
    """Every error class, parents first: the source of the exit-code table in the docs."""
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


def from_dict(fields: dict[str, str]) -> PearrtError:
    """The error that `as_dict` described, as the class its code names (unknown codes give PearrtError)."""
    for cls in error_classes():
        if cls.code == fields.get("code"):
            return cls(fields.get("message", ""), hint=fields.get("hint", ""))
    return PearrtError(fields.get("message", "unknown error"), hint=fields.get("hint", ""))

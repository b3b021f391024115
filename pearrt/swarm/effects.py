"""What the pure swarm wants its shell to do, as frozen values."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pearrt.peer.bodies import Buffer
from pearrt.peer.messages import Message
from pearrt.swarm.reputation import Offence
from pearrt.swarm.scope import Address

P = TypeVar("P", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Send(Generic[P]):
    """Send a message to a peer."""

    peer: P
    message: Message


@dataclass(frozen=True, slots=True)
class Keep(Generic[P]):
    """Verify a block and store it, then call `stored` or `rejected`."""

    peer: P
    block_id: bytes
    data: Buffer


@dataclass(frozen=True, slots=True)
class ServeMetadata(Generic[P]):
    """A peer asks for the app's metadata with roots from `first_root` on."""

    peer: P
    first_root: int


@dataclass(frozen=True, slots=True)
class MetadataCame(Generic[P]):
    """A peer answered with metadata, unverified."""

    peer: P
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Newer(Generic[P]):
    """A peer told of a newer timestamp: time to fetch the metadata behind it."""

    peer: P
    timestamp: bytes


@dataclass(frozen=True, slots=True)
class Confirmed(Generic[P]):
    """A peer showed, by itself, the timestamp that is trusted here."""

    peer: P


@dataclass(frozen=True, slots=True)
class Offended(Generic[P]):
    """A peer broke a rule."""

    peer: P
    offence: Offence


@dataclass(frozen=True, slots=True)
class Heard:
    """Further addresses to try."""

    addresses: tuple[Address, ...]


Effect = (
    Send[P] | Keep[P] | ServeMetadata[P] | MetadataCame[P] | Newer[P] | Confirmed[P] | Offended[P] | Heard
)


class SwarmApp(Protocol):
    """What the swarm needs to know of an app. Calls are quick and never block."""

    @property
    def topic(self) -> bytes:
        """32 bytes under which the app's peers meet (`pearrt.link.topic_of`)."""

    def timestamp(self) -> bytes | None:
        """The newest timestamp metadata trusted here."""

    def consider_timestamp(self, raw: bytes) -> bool:
        """Whether the metadata behind `raw` is worth fetching: newer than what is trusted, or not checkable
        yet.

        Raises TrustError where it does not verify. Nothing is adopted here.
        """

    def proof(self) -> bytes | None:
        """The proof that is kept here of statements of this app that contradict each other."""

    def consider_proof(self, raw: bytes) -> bool:
        """Verifies a told proof and keeps it; whether it is the first that is kept.

        Raises ThresholdNotMet where it can't be judged here, TrustError or RemoteError where it is false.
        """

    def metadata_from(self, first_root: int) -> bytes | None:
        """Encoded metadata whose roots begin with version `first_root`; None while nothing is trusted."""

"""Roots that do not fit into one answer: fetched in several, put together as they were asked for.

An answer holds as many roots as fit (`MetadataSet.since`), so one that leaves room for another root was the
last. Nothing is verified here: what comes out is one metadata set, as unverified as its parts.
"""

from __future__ import annotations

from dataclasses import replace

from pearrt.errors import LimitExceeded
from pearrt.trust.metadata_set import MAX_ANSWER_BYTES, MAX_ROOT_BYTES, MetadataSet

MAX_ANSWERS = 8


class RootSteps:
    """The answers of one source to one question; `wanted` is the first root to ask for next."""

    def __init__(self, first_root: int) -> None:
        self.wanted = first_root
        self._roots: tuple[bytes, ...] = ()
        self._answers = 0

    def take(self, raw: bytes) -> bytes | None:
        """The whole encoded set once the last answer is here; None: ask again, from `wanted` on.

        Raises ProtocolViolation for what is no set, LimitExceeded past MAX_ANSWERS.
        """
        self._answers += 1
        last = len(raw) + MAX_ROOT_BYTES <= MAX_ANSWER_BYTES
        if last and not self._roots:
            return raw
        part = MetadataSet.decode(raw)
        if self._roots and part.roots[:1] == self._roots[:1]:
            return raw  # a plain web server, which gives the same whatever is asked
        roots = self._roots + part.roots
        if last or not part.roots:
            return replace(part, roots=roots).encode()
        if self._answers >= MAX_ANSWERS:
            raise LimitExceeded(f"a metadata set whose roots take more than {MAX_ANSWERS} answers")
        self._roots, self.wanted = roots, self.wanted + len(part.roots)
        return None


def answers_needed(metadata: MetadataSet) -> int:
    """In how many answers one that has none of the roots gets the whole set."""
    known, count = 0, 1
    while known + (given := len(metadata.since(known + 1).roots)) < len(metadata.roots) and given:
        known, count = known + given, count + 1
    return count

"""Sources at work: each is tried, asked for metadata, then for blocks by several threads at once.

A source that sends a wrong block or breaks the protocol is dropped for good; one that cannot be reached or is
too slow is tried again later. Threads report to the one who waits (`wait`, `fetch`); they never end the
program. Memory holds one block per connection, whatever the size of what is fetched.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from bootstrap.wanted import SLOW_S, Wanted
from pearrt.bundle.index import BlockRef
from pearrt.errors import DigestMismatch, NetworkError, NoPeers, PearrtError, RemoteError, StoreError
from pearrt.gateway.asking import NotThere
from pearrt.gateway.http_source import REQUEST_TIMEOUT_S

CONNECTIONS = 3  # to one source
MAX_SOURCES = 12  # tried or used at once
MAX_KNOWN = 256
MAX_MISSES = 32  # blocks that a source lacks before it is let go
RETRY_S = 4.0
LOST_AFTER_S = 60.0
TICK_S = 0.05


class Source(Protocol):
    """One connection to where blocks come from, for one thread."""

    def metadata(self, app_key: bytes, first_root: int = 1) -> bytes: ...
    def block(self, block: BlockRef) -> bytes: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...
    @property
    def busy_for_s(self) -> float: ...


@dataclass(eq=False)
class Candidate:
    """A place that may have it. `refused`: why it is never asked again; `failed`: why it is not asked now."""

    name: str
    connect: Callable[[], Source]
    refused: str = ""
    failed: str = ""
    retry_at: float = 0.0
    threads: int = 0
    trying: bool = False
    fetched_bytes: int = 0
    misses: int = 0
    open: list[Source] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Offer:
    """Metadata that a source gave, unverified."""

    candidate: Candidate
    metadata: bytes


class Pool:
    """Candidates and their threads; a context manager. `add` may be called from any thread."""

    def __init__(self, app_key: bytes, first_root: int = 1) -> None:
        self.offers: queue.SimpleQueue[Offer] = queue.SimpleQueue()
        self._app_key = app_key
        self._first_root = first_root
        self._changed = threading.Condition()
        self._candidates: dict[str, Candidate] = {}
        self._wanted: Wanted | None = None
        self._put: Callable[[bytes, bytes], None] = lambda *_: None
        self._failure: BaseException | None = None
        self._closed = False

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._wanted = None
            self._changed.notify_all()
            sources = [source for candidate in self._candidates.values() for source in candidate.open]
        for source in sources:
            source.abort()

    def add(self, name: str, connect: Callable[[], Source]) -> None:
        """A place to try; nothing happens when it is known."""
        with self._changed:
            if self._closed or name in self._candidates or len(self._candidates) >= MAX_KNOWN:
                return
            self._candidates[name] = Candidate(name, connect)
            self._start_threads()

    @property
    def trying(self) -> bool:
        """Whether some source has yet to answer."""
        with self._changed:
            return any(candidate.trying for candidate in self._candidates.values())

    def check(self) -> None:
        """Raises what went wrong in a thread that was not a source's fault."""
        if self._failure is not None:
            raise self._failure

    def told(self) -> list[str]:
        """What became of each candidate, in words."""
        with self._changed:
            return [
                f"{each.name} ({each.refused or each.failed or 'asked'})"
                for each in self._candidates.values()
            ]

    def fetched(self) -> dict[str, int]:
        """Bytes of blocks by source."""
        with self._changed:
            return {each.name: each.fetched_bytes for each in self._candidates.values() if each.fetched_bytes}

    def refuse(self, candidate: Candidate, why: str) -> None:
        """What this source sent breaks a rule: it is never asked again."""
        with self._changed:
            candidate.refused = why
            sources = list(candidate.open)
            self._changed.notify_all()
        for source in sources:
            source.abort()

    def tick(self) -> None:
        """Ends requests that take too long, tries again what failed a while ago. Called by who waits."""
        with self._changed:
            slow = [
                source
                for candidate in self._candidates.values()
                for source in candidate.open
                if source.busy_for_s > REQUEST_TIMEOUT_S
            ]
            self._start_threads()
        for source in slow:
            source.abort()

    def fetch(
        self,
        blocks: Iterable[BlockRef],
        put: Callable[[bytes, bytes], None],
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """Brings all blocks, verified, to `put(id, bytes)`, which several threads call.

        Raises what `put` raises, NoPeers where nobody has the rest for LOST_AFTER_S.
        """
        wanted = Wanted(blocks)
        with self._changed:
            self._wanted, self._put, self._failure = wanted, put, None
            self._changed.notify_all()
        seen, since = -1, time.monotonic()
        try:
            while not wanted.finished:
                self.tick()
                with self._changed:
                    self._changed.wait(TICK_S)
                    done, failure = wanted.done_bytes, self._failure
                if failure is not None:
                    raise failure
                if done != seen:
                    seen, since = done, time.monotonic()
                    progress(done, wanted.total_bytes)
                elif time.monotonic() - since > LOST_AFTER_S:
                    raise NoPeers(
                        f"Nobody gives the rest: {done} of {wanted.total_bytes} bytes are here.",
                        hint=f"Run it again to go on. Tried: {', '.join(self.told()) or 'nobody'}.",
                    )
        finally:
            with self._changed:
                self._wanted = None
        progress(wanted.total_bytes, wanted.total_bytes)

    # -- threads; what follows is called with the condition held, or says otherwise

    def _start_threads(self) -> None:
        now = time.monotonic()
        busy = sum(1 for candidate in self._candidates.values() if candidate.threads)
        # Who was never tried comes first: a hundred dead addresses must not hold up the one that lives.
        for candidate in sorted(self._candidates.values(), key=lambda each: each.retry_at):
            if candidate.refused or candidate.threads or busy >= MAX_SOURCES or now < candidate.retry_at:
                continue
            candidate.trying = True
            self._start(candidate, self._try)
            busy += 1

    def _start(self, candidate: Candidate, work: Callable[[Candidate, Source], None]) -> None:
        candidate.threads += 1
        threading.Thread(target=self._thread, args=(candidate, work), daemon=True).start()

    def _thread(self, candidate: Candidate, work: Callable[[Candidate, Source], None]) -> None:
        """A thread's life; the condition is not held."""
        source: Source | None = None
        why = ""
        try:
            source = candidate.connect()
            with self._changed:
                candidate.open.append(source)
            work(candidate, source)
        except (RemoteError, DigestMismatch) as e:
            self.refuse(candidate, e.message)
        except PearrtError as e:
            why = e.message.partition(" cannot be reached: ")[2] or e.message
        except Exception as e:  # a bug of ours must not leave the one who waits waiting
            with self._changed:
                self._failure = e
        finally:
            with self._changed:
                if source is not None:
                    candidate.open.remove(source)
                candidate.threads -= 1
                candidate.trying = candidate.trying and candidate.threads > 0
                candidate.failed = why.rstrip(".") or candidate.failed
                candidate.retry_at = time.monotonic() + RETRY_S
                self._changed.notify_all()
            if source is not None:
                source.close()

    def _try(self, candidate: Candidate, source: Source) -> None:
        """The first thread of a source: metadata, then blocks. The condition is not held."""
        metadata = source.metadata(self._app_key, self._first_root)
        self.offers.put(Offer(candidate, metadata))
        with self._changed:
            candidate.trying = False
            candidate.failed = ""
            for _ in range(CONNECTIONS - 1):
                self._start(candidate, self._serve)
        self._serve(candidate, source)

    def _serve(self, candidate: Candidate, source: Source) -> None:
        """Fetches blocks for as long as the pool is open. The condition is not held."""
        while True:
            with self._changed:
                while (block := self._next(candidate)) is None:
                    if self._closed or candidate.refused:
                        return
                    self._changed.wait(SLOW_S)
                wanted = self._wanted
            assert wanted is not None
            self._bring(candidate, source, wanted, block)

    def _next(self, candidate: Candidate) -> BlockRef | None:
        if self._closed or candidate.refused or self._wanted is None:
            return None
        return self._wanted.take(candidate, time.monotonic())

    def _bring(self, candidate: Candidate, source: Source, wanted: Wanted, block: BlockRef) -> None:
        """One block; gives it back where that fails. The condition is not held."""
        try:
            data = source.block(block)
        except NotThere:
            with self._changed:
                wanted.give_back(candidate, block, lacks=True)
                candidate.misses += 1
                self._changed.notify_all()
            if candidate.misses > MAX_MISSES:
                raise NetworkError("it lacks what is wanted") from None
            return
        except BaseException:
            with self._changed:
                wanted.give_back(candidate, block)
                self._changed.notify_all()
            raise
        try:
            self._put(block.id, data)
        except StoreError as e:
            with self._changed:
                self._failure = e
                wanted.give_back(candidate, block)
                self._changed.notify_all()
            return
        with self._changed:
            wanted.done(block)
            candidate.fetched_bytes += len(data)
            self._changed.notify_all()

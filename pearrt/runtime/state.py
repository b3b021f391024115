"""Which version of pearrt runs on this machine: a value and its transitions, pure.

    nothing ── install ──> confirmed ── begin ──> trial ── confirm ──> confirmed
                               ^ ^                  │                      │
                               │ └──── fail ────────┘                      │   (too many starts, a crash, …)
                               └────────────────── give_way ───────────────┘   (it crashes, it was revoked)

- `current` is the confirmed version. It changes by `install` into nothing, `confirm`, `give_way` and
  `roll_back` only.
- `trial` is a version that passed its health check and has not yet proved itself. It is what starts, until
  its daemon came to a bad end three times (`starts.py`): then it has failed, and `current` starts again.
- There are two versions at most: `current`, and the one before it or the one on trial. A trial begins with
  letting go of `previous`.
- What has failed is tried again by the person's wish only (`pearrt update --retry`). The reason is kept for
  `pearrt versions`.
- Without the person, a version gives way to the one it replaced and to no other: `fail` leads from the trial
  to `current`; `give_way`, for one that crashes at each start (`starts.py`) or that its signers took back,
  from `current` to `previous`, and there is none before that.

Versions are named by the digest of their index: 64 hexadecimal digits, the name of their unpacked tree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pearrt.errors import Corrupt, UserError

MAX_FAILED = 32
MAX_REASON_CHARS = 500
MAX_STATE_BYTES = 256 * 1024
MAX_TIME = 2**53

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RuntimeState:
    """What `runtime/state.json` holds. Digests are hex, "" for none; times are seconds since 1970.

    `link` names the app whose releases are pearrt's versions; "" where pearrt came by pip or a package.
    `names`: digest -> version text. `failed`: digest -> why, oldest first. `pin`: the only version (text)
    that may come next, "" for any. `channel`: "" for the link's. `delay_s`: how old a release has to be.
    `deferred_until`: before then nothing is switched.
    `format`: of what lies in this home; `reader`: the lowest format that a pearrt must know to read it;
    `formats`: digest -> the one that this version knows (`formats.py`).
    """

    link: str = ""
    current: str = ""
    previous: str = ""
    trial: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    pin: str = ""
    channel: str = ""
    delay_s: int = 0
    deferred_until: int = 0
    format: int = 1
    reader: int = 1
    formats: Mapping[str, int] = field(default_factory=dict)

    @property
    def runs(self) -> str:
        """The version that the next start runs."""
        return self.trial or self.current

    @property
    def kept(self) -> frozenset[str]:
        """The versions whose trees must stay."""
        return frozenset({self.current, self.previous, self.trial} - {""})

    def name(self, digest: str) -> str:
        """The version's text, or the start of its digest."""
        return self.names.get(digest) or digest[:12]


# -- transitions


def install(state: RuntimeState, link: str, digest: str, version: str) -> RuntimeState:
    """The first version, which a bootstrapper unpacked. Does nothing where there is one."""
    _check_digest(digest)
    if state.current:
        return state
    return _named(replace(state, link=link, current=digest), digest, version)


def begin(state: RuntimeState, digest: str, version: str, *, retry: bool = False) -> RuntimeState:
    """A version that passed its health check is to start from now on. Raises UserError where another is on
    trial, and for one that has failed before, unless the person wants a `retry`."""
    _check_digest(digest)
    if retry:
        state = forgive(state, digest)
    if digest in state.failed:
        raise UserError(
            f"pearrt {version} has failed here before: {state.failed[digest]}",
            hint="`pearrt update --retry` tries it again.",
        )
    if state.trial not in ("", digest):
        raise UserError(f"pearrt {state.name(state.trial)} is on trial already.")
    if not state.current or digest in (state.current, state.trial):
        return state
    return _named(replace(state, trial=digest, previous=""), digest, version)


def confirm(state: RuntimeState, digest: str) -> RuntimeState:
    """The trial has proved itself. Does nothing for any other version."""
    if not digest or state.trial != digest:
        return state
    return _tidy(replace(state, current=digest, previous=state.current, trial=""))


def fail(state: RuntimeState, reason: str) -> RuntimeState:
    """The trial has failed; `current` runs again. Does nothing without a trial."""
    if not state.trial:
        return state
    return reject(replace(state, trial=""), state.trial, state.name(state.trial), reason)


def reject(state: RuntimeState, digest: str, version: str, reason: str) -> RuntimeState:
    """A version that is not to be tried again, such as one that did not pass its health check."""
    _check_digest(digest)
    if digest in (state.current, state.trial):
        return state
    failed = {known: why for known, why in state.failed.items() if known != digest}
    failed[digest] = reason.strip()[:MAX_REASON_CHARS] or "no reason was given"
    failed = dict(list(failed.items())[-MAX_FAILED:])
    previous = "" if state.previous == digest else state.previous
    return _named(replace(state, failed=failed, previous=previous), digest, version)


def roll_back(state: RuntimeState, reason: str) -> RuntimeState:
    """One step back by the person's wish: from the trial to `current`, else from `current` to `previous`,
    which then is the only one left. Raises UserError where there is none."""
    if state.trial:
        return fail(state, reason)
    if not state.previous:
        raise UserError(
            "There is no previous version of pearrt to go back to.",
            hint="`pearrt versions` lists those that are here.",
        )
    return give_way(state, state.current, reason)


def give_way(state: RuntimeState, digest: str, reason: str) -> RuntimeState:
    """The confirmed version cannot go on: the one before it runs, and is the only one left. Does nothing
    where `digest` is not that version, with one on trial, and where there is none before."""
    if digest != state.current or state.trial or not state.previous:
        return state
    back = replace(state, current=state.previous, previous="")
    return reject(back, digest, state.name(digest), reason)


def forgive(state: RuntimeState, digest: str) -> RuntimeState:
    """The person wants a version tried again that has failed before."""
    return replace(state, failed={known: why for known, why in state.failed.items() if known != digest})


# -- the file


def encode(state: RuntimeState) -> bytes:
    """What `decode` reads."""
    return json.dumps(asdict(state), indent=1).encode() + b"\n"


def decode(data: bytes) -> RuntimeState:
    """The state in the file. A field that this version does not know is left aside, so that a version can be
    stepped back from. Raises Corrupt for anything that `encode` does not write."""
    try:
        if len(data) > MAX_STATE_BYTES:
            raise ValueError(f"more than {MAX_STATE_BYTES} bytes")
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError("not an object")
        state = RuntimeState(
            **{
                item.name: _checked(item.name, found[item.name])
                for item in fields(RuntimeState)
                if item.name in found
            }
        )
        if state.trial and (not state.current or state.trial == state.current or state.trial in state.failed):
            raise ValueError("the trial contradicts the rest")
        if state.current in state.failed:
            raise ValueError("the current version has failed")
    except (ValueError, TypeError, RecursionError) as e:
        raise Corrupt(
            f"The runtime's state file is damaged: {e}.",
            hint="Run the bootstrapper again: it writes a new one for what is unpacked.",
        ) from e
    return state


def _checked(name: str, value: Any) -> Any:
    if name in ("current", "previous", "trial"):
        return value if value == "" else _check_digest(value)
    if name in ("failed", "names"):
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise ValueError(f"{name} is no table of texts")
        return {_check_digest(digest): text for digest, text in value.items()}
    if name == "formats":
        if not isinstance(value, dict):
            raise ValueError("formats is no table")
        return {_check_digest(digest): _number(name, number) for digest, number in value.items()}
    if name in ("link", "pin", "channel"):
        if not isinstance(value, str):
            raise ValueError(f"{name} is no text")
        return value
    return _number(name, value)


def _number(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_TIME:
        raise ValueError(f"{name} is no number in range")
    return value


def _check_digest(value: Any) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"{str(value)[:80]!r} is no digest")
    return value


def _named(state: RuntimeState, digest: str, version: str) -> RuntimeState:
    return _tidy(replace(state, names={**state.names, digest: version}))


def _tidy(state: RuntimeState) -> RuntimeState:
    """Names of versions that nothing speaks of any more are forgotten."""
    spoken_of = state.kept | set(state.failed)
    return replace(state, names={digest: text for digest, text in state.names.items() if digest in spoken_of})

"""The format of what lies in a home, and how a version can be stepped back from.

A change of format comes in two steps, in different releases of pearrt:

    expand     writes the new form beside the old one, or adds what the old code leaves aside. Done by the
               first version that knows the new form, at its first start, even on trial; and again after a
               version that does not know it has run in between.
    contract   removes the old form. Done once every version that is kept here (`RuntimeState.kept`) knows the
               new one, so never while the way back leads to one that does not.

`format` in the state is the newest form that is up to date, `reader` the oldest that code must know to read
this home. Each step is recorded when it is done; one that was interrupted is done again, so it must bear
that. The health check of a version goes through its steps on a copy first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pearrt.errors import UserError
from pearrt.runtime.layout import RuntimeFolder
from pearrt.runtime.state import RuntimeState

FORMAT = 1  # what this version writes, and can read


def _nothing(data: Path) -> None:
    """A change that has only one of the two steps."""


@dataclass(frozen=True, slots=True)
class Migration:
    """From format `to - 1` to `to`. The steps are given the data directory and may be repeated."""

    to: int
    what: str
    expand: Callable[[Path], None] = _nothing
    contract: Callable[[Path], None] = _nothing


MIGRATIONS: tuple[Migration, ...] = ()  # none yet: format 1 is the first


def expand(
    folder: RuntimeFolder, own: str, *, migrations: Sequence[Migration] = MIGRATIONS, known: int = FORMAT
) -> None:
    """At a daemon's start: brings the home up to what this version writes. `own`: the digest of the version,
    "" where pip or a package brought it; `known`: its format. Raises UserError for a home that only a newer
    pearrt can read."""
    state = folder.read()
    if state.reader > known:
        raise UserError(
            f"{folder.data} was used by a newer pearrt, of format {state.reader}; this one knows {known}.",
            hint="Update pearrt, or use another folder with PEARRT_HOME.",
        )
    if state.format > known:  # what this version writes is only in the old form
        state = folder.edit(lambda state: replace(state, format=known))
    for migration in migrations:
        if state.format < migration.to <= known:
            migration.expand(folder.data)
            state = folder.edit(lambda state, to=migration.to: replace(state, format=max(state.format, to)))  # type: ignore[misc]
    if own and state.formats.get(own) != known:
        folder.edit(lambda state: replace(state, formats=_tidy(state, own, known)))


def contract(
    folder: RuntimeFolder, *, migrations: Sequence[Migration] = MIGRATIONS, known: int = FORMAT
) -> None:
    """After a version was confirmed: removes forms that no version here needs any more."""
    state = folder.read()
    oldest = min([known, *(state.formats.get(digest, 1) for digest in state.kept)])
    for migration in migrations:
        if state.reader < migration.to <= min(oldest, state.format):
            migration.contract(folder.data)
            state = folder.edit(lambda state, to=migration.to: replace(state, reader=max(state.reader, to)))  # type: ignore[misc]


def _tidy(state: RuntimeState, own: str, known: int) -> dict[str, int]:
    return {digest: number for digest, number in state.formats.items() if digest in state.kept} | {own: known}

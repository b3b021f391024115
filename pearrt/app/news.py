"""What changed since the person last started an app: told once, at the next start.

It is written when a release takes over and removed when the app is started; releases that come and go in
between add up: the version that ran last, the newest notes, and `security` where any of them closed a hole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pearrt.app.record import Installed, News

if TYPE_CHECKING:  # `pearrt run` imports this and needs neither
    from pearrt.bundle.index import Index
    from pearrt.trust.release import Release

MAX_SHOWN_NOTES = 280


def lines(news: News, name: str) -> list[str]:
    """For the person: a line or two."""
    files = ""
    if news.changed >= 0:
        counts = {"changed": news.changed, "new": news.added, "gone": news.removed}
        told = [f"{count} {what}" for what, count in counts.items() if count]
        files = f" (files: {', '.join(told)})" if told else " (no file changed)"
    security = ", a security release" if news.security else ""
    said = [f"{name} was updated: {news.old} -> {news.new}{security}{files}"]
    notes = " ".join(news.notes.split())
    if len(notes) > MAX_SHOWN_NOTES:
        notes = notes[: MAX_SHOWN_NOTES - 1] + "…"
    return [*said, f"  {notes}"] if notes else said


def gathered(
    before: News | None,
    old: Installed,
    new: Installed,
    release: Release | None,
    changes: tuple[int, int, int],
) -> News:
    """The news after `new` took over from `old`; `release` says more of `new` where it is still current."""
    first = before or News(old.version, old.index_digest, new.version)
    changed, added, removed = changes
    return News(
        old=first.old,
        old_digest=first.old_digest,
        new=new.version,
        notes=release.notes if release else "",
        security=first.security or (release is not None and release.security),
        changed=changed,
        added=added,
        removed=removed,
    )


def changes(old: Index | None, new: Index) -> tuple[int, int, int]:
    """Files changed, added and removed from one index to another."""
    if old is None:
        return -1, 0, 0
    was = {file.path: file.sha256 for file in old.files}
    now = {file.path: file.sha256 for file in new.files}
    kept = was.keys() & now.keys()
    return sum(was[path] != now[path] for path in kept), len(now) - len(kept), len(was) - len(kept)

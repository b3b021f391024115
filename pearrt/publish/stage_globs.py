"""Which files of a project belong to the app: include and exclude patterns over paths with `/`.

`*` and `?` stay within a component, `**` crosses them, a pattern that names a folder takes all below it. Case
counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


class Globs:
    """A file is wanted when some `include` matches, or there is none, and no `exclude` does."""

    def __init__(self, *, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        self._include = [_compile(pattern) for pattern in include]
        self._exclude = [_compile(pattern) for pattern in exclude]

    def wants(self, path: str) -> bool:
        included = not self._include or any(pattern.fullmatch(path) for pattern in self._include)
        return included and not self.excludes(path)

    def excludes(self, path: str) -> bool:
        """Whether this file, or this folder with all that it holds, is left out."""
        return any(pattern.fullmatch(path) for pattern in self._exclude)


def _compile(pattern: str) -> re.Pattern[str]:
    out = []
    rest = pattern.strip("/")
    while rest:
        if rest.startswith("**/"):
            out.append("(?:.*/)?")
            rest = rest[3:]
        elif rest.startswith("**"):
            out.append(".*")
            rest = rest[2:]
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(rest[0]) or re.escape(rest[0]))
            rest = rest[1:]
    return re.compile("".join(out) + "(?:/.*)?", re.DOTALL)

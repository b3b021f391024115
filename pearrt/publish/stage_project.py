"""The `[tool.pearrt]` table of a `pyproject.toml`, or a `pearrt.toml`, which is that table alone.

    [tool.pearrt]
    entry = "package.module:function"    # or a file: "main.py"
    kind = "python"                      # python | web | wasi | exec
    backend = "package.server:main"      # the Python part of a web app, if it has one
    name, version, platform              # default: [project] name and version, "any"
    path = ["."]                         # folders that go on sys.path
    include = ["package/**"]             # default: everything; caches are always left out
    exclude = ["**/tests/**"]
    dependencies = ["attrs==25.3.0"]     # vendored by pip; true: those of [project]
    [tool.pearrt.permissions]            # what the app asks for

An unknown key is an error, with a suggestion.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pearrt.errors import UserError

_KEYS = (
    "backend",
    "dependencies",
    "entry",
    "exclude",
    "include",
    "kind",
    "name",
    "path",
    "permissions",
    "platform",
    "version",
)


@dataclass(frozen=True, slots=True)
class Project:
    """The table, with what `[project]` fills in."""

    name: str
    version: str
    entry: str
    kind: str
    platform: str
    path: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    dependencies: tuple[str, ...]
    requires_python: str
    permissions: Mapping[str, Any]
    backend: str = ""


def read_pearrt_toml(text: str) -> Project:
    """The project that a `pearrt.toml` describes: `[tool.pearrt]`'s keys at its top. Raises UserError."""
    return _read({}, _parse(text, "pearrt.toml"))


def read_project(text: str) -> Project:
    """The project that a `pyproject.toml` describes. Raises UserError, naming the key that is wrong."""
    document = _parse(text, "pyproject.toml")
    project = _table(document, "project")
    table = _table(_table(document, "tool"), "pearrt", "tool.pearrt")
    if not table:
        raise UserError(
            "pyproject.toml has no [tool.pearrt] table.",
            hint="Add one, with an entry such as package.main:main.",
        )
    return _read(project, table)


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise UserError(f"{name}: {e}.") from e


def _read(project: Mapping[str, Any], table: Mapping[str, Any]) -> Project:
    _check_keys(table)
    return Project(
        name=_text(table, "name") or _text(project, "name") or _missing("name"),
        version=_text(table, "version") or _text(project, "version") or _missing("version"),
        entry=_text(table, "entry") or _only_script(project) or _missing("entry"),
        kind=_text(table, "kind") or "python",
        platform=_text(table, "platform") or "any",
        path=_texts(table, "path") or (".",),
        include=_texts(table, "include"),
        exclude=_texts(table, "exclude"),
        dependencies=_dependencies(table, project),
        requires_python=_text(project, "requires-python"),
        permissions=_table(table, "permissions", "tool.pearrt.permissions"),
        backend=_text(table, "backend"),
    )


def _check_keys(table: Mapping[str, Any]) -> None:
    for key in table:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(_KEYS)}."
            raise UserError(f"[tool.pearrt] has no key {key!r}.", hint=hint)


def _dependencies(table: Mapping[str, Any], project: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = table.get("dependencies", False)
    if isinstance(wanted, bool):
        return _texts(project, "dependencies") if wanted else ()
    return _texts(table, "dependencies")


def _only_script(project: Mapping[str, Any]) -> str:
    scripts = _table(project, "scripts")
    return str(next(iter(scripts.values()))) if len(scripts) == 1 else ""


def _table(parent: Mapping[str, Any], key: str, shown: str = "") -> Mapping[str, Any]:
    value = parent.get(key, {})
    if not isinstance(value, dict):
        raise UserError(f"The project's {shown or key} is no table.")
    return value


_EXAMPLES = {"entry": 'Write entry = "main.py", or entry = "package.module:function".'}


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise UserError(f"The project's {key} is no text.", hint=_EXAMPLES.get(key, f'Write {key} = "…".'))
    return value


def _texts(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UserError(f"The project's {key} is no list of texts.")
    return tuple(value)


def _missing(key: str) -> str:
    raise UserError(
        f"The project gives the app no {key}.",
        hint=f"Set {key} in pearrt.toml, or under [tool.pearrt] in pyproject.toml.",
    )

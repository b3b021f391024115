"""Builds a bootstrapper: one file of standard library Python (PEP 441) out of `bootstrap/` and just those
modules of pearrt that it imports.

    __main__.py     starts it; readable as it is
    carried.json    whose releases it installs, first nodes, maybe an app
    core.tar.xz     everything else, as sources without comments and docstrings; lines keep their numbers

The same sources and contents give the same bytes, wherever they lie and whenever it is built: entries are
sorted, dates fixed, and what goes in follows from the sources alone. (zlib and liblzma have a say too: they
compress alike on one machine, not in all their versions.)
"""

from __future__ import annotations

import ast
import io
import itertools
import json
import lzma
import sys
import tarfile
import tokenize
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pearrt
from pearrt.atomic import write_file
from pearrt.errors import UserError
from pearrt.link import HostPort, Link

MAX_BYTES = 128_000
SHEBANG = b"#!/usr/bin/env python3\n"
START = "bootstrap.program"
MAIN = "__main__.py"
# Imported where they are installed, done without where not.
OPTIONAL = frozenset({"nacl", "platformdirs", "zstandard"})
_DATE = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_STATEMENT_BEGINS = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the packages lie: `pearrt` and `bootstrap`, each the folder itself."""

    folders: Mapping[str, Path]

    @classmethod
    def found(cls) -> Sources:
        """The sources of this very pearrt: an installed one brings the bootstrapper's along, in a source tree
        they lie beside it. Raises UserError."""
        package = Path(pearrt.__file__).parent
        for bootstrap in (package / "_bootstrap", package.parent / "bootstrap"):
            if (bootstrap / MAIN).is_file():
                return cls({"pearrt": package, "bootstrap": bootstrap})
        raise UserError(
            "This pearrt came without the bootstrapper's sources.", hint="Install it from its wheel."
        )

    def file(self, module: str) -> tuple[str, Path] | None:
        """The module's path in the archive and on disk; None for someone else's module, or none at all."""
        package, *rest = module.split(".")
        folder = self.folders.get(package)
        if folder is None:
            return None
        path = folder.joinpath(*rest)
        name = "/".join([package, *rest])
        if rest and path.with_suffix(".py").is_file():
            return f"{name}.py", path.with_suffix(".py")
        init = path / "__init__.py"
        return (f"{name}/__init__.py", init) if init.is_file() else None


def build(
    *,
    runtime: Link,
    nodes: Sequence[HostPort] = (),
    app: Link | None = None,
    sources: Sources | None = None,
) -> bytes:
    """The bytes of a bootstrapper that installs the releases of `runtime` and starts `app`, if there is one.

    Raises UserError where the sources import what is not in the standard library, or are too large.
    """
    sources = sources or Sources.found()
    entries = {
        MAIN: (sources.folders["bootstrap"] / MAIN).read_bytes(),
        "carried.json": _carried(runtime, nodes, app),
        "core.tar.xz": _core(dict(_modules(sources, START))),
    }
    stream = io.BytesIO()
    stream.write(SHEBANG)
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in sorted(entries.items()):
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".xz") else zipfile.ZIP_DEFLATED
            info.create_system, info.external_attr = _UNIX, 0o100644 << 16
            archive.writestr(info, data, compresslevel=9)
    built = stream.getvalue()
    if len(built) > MAX_BYTES:
        raise UserError(f"The bootstrapper has {len(built)} bytes; at most {MAX_BYTES} are allowed.")
    return built


def write_pyz(path: Path, built: bytes) -> None:
    """Writes the file, executable. Raises Full, StoreError."""
    write_file(path, built, mode=0o755)


def _carried(runtime: Link, nodes: Sequence[HostPort], app: Link | None) -> bytes:
    """As `bootstrap.carried.Carried` reads it."""
    value = {
        "app": str(app) if app else "",
        "nodes": [str(node) for node in dict.fromkeys(nodes)],
        "runtime": str(runtime),
    }
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _core(modules: Mapping[str, bytes]) -> bytes:
    """All modules in one archive: compressed together they take half of what they take one by one."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, source in sorted(modules.items()):
            info = tarfile.TarInfo(name)
            data = bare(source)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return lzma.compress(stream.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def bare(source: bytes) -> bytes:
    """The source without comments and docstrings, each statement on the line where it was."""
    lines = source.decode().split("\n")
    tokens = [token for token in tokenize.tokenize(io.BytesIO(source).readline) if token.type != tokenize.NL]
    depth, before = 0, tokenize.ENCODING
    for token, after in itertools.pairwise(tokens):
        (row, column), end_row = token.start, token.end[0]
        if token.type == tokenize.COMMENT:
            lines[row - 1] = lines[row - 1][:column]
            continue
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        begins, ends = before in _STATEMENT_BEGINS, after.type in (tokenize.NEWLINE, tokenize.COMMENT)
        if token.type == tokenize.STRING and begins and ends and not depth:
            lines[row - 1] = lines[row - 1][:column] + '""'
            lines[row:end_row] = [""] * (end_row - row)
        before = token.type
    return "\n".join(line.rstrip() for line in lines).encode()


def _modules(sources: Sources, start: str) -> Iterator[tuple[str, bytes]]:
    """Everything that `start` imports of our own, at once or later, with its packages."""
    pending, seen = [start], set()
    while pending:
        module = pending.pop()
        found = sources.file(module)
        if module in seen or found is None:
            continue
        seen.add(module)
        name, path = found
        data = path.read_bytes()
        yield name, data
        pending += _parents(module)
        for imported in _imports(ast.parse(data)):
            if imported.partition(".")[0] in sources.folders:
                pending += [imported, *_parents(imported)]
            else:
                _check_standard(imported, name)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _imports(node: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports anywhere; not what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        ):
            for other in child.orelse:
                yield from _imports(other)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.module is not None
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from _imports(child)


def _check_standard(module: str, where: str) -> None:
    package = module.partition(".")[0]
    if package not in sys.stdlib_module_names and package not in OPTIONAL:
        raise UserError(f"{where} imports {package}, which is not in the standard library.")

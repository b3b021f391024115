"""`pearrt stage`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.options import open_daemon
from pearrt.cli.output import Output, printable, size, speaking
from pearrt.cli.progress import ProgressBar
from pearrt.errors import UserError

if TYPE_CHECKING:
    from pearrt.publish.stage import Prepared


@speaking(name="stage")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option(
    "--pypi", metavar="NAME==VERSION", help="A PyPI package with its dependencies, instead of a folder."
)
@click.option("--name", help="The app's name, for a folder without [tool.pearrt].")
@click.option("--version", help="Its version.")
@click.option("--entry", help="What starts it: package.module:function, package.module or path/to/main.py.")
@click.option("--permissions", type=click.Path(path_type=Path), help="TOML file with a [permissions] table.")
@click.option("--pure", is_flag=True, help="With --pypi: only wheels that run on every platform.")
def command(
    output: Output,
    folder: Path | None,
    pypi: str | None,
    name: str | None,
    version: str | None,
    entry: str | None,
    permissions: Path | None,
    pure: bool,
) -> None:
    """Turn a folder, project or PyPI package into a bundle.

    A project is a FOLDER with a pearrt.toml, or whose pyproject.toml has a [tool.pearrt] table. Any other
    FOLDER needs --name, --version and --entry. Prints the digest that `pearrt release` wants; the same files
    give the same digest on any machine with the same version of zstd.
    """
    table = _read_permissions(permissions) if permissions else None
    with (
        ProgressBar(shown=not output.as_json) as bar,
        _prepare(folder, pypi, name, version, entry, table, pure) as prepared,
    ):
        record = open_daemon().stage(prepared.folder.absolute(), prepared.manifest.encode(), bar)
    output.result(record, record["digest"])
    output.say(
        printable(
            f"{record['name']} {record['version']} for {record['platform']}: {record['files']} files, "
            f"{size(record['bytes'])}, stored in {size(record['stored_bytes'])}. "
            f"Next: `pearrt release publish` or `request` with {record['digest'][:12]}."
        )
    )


def _prepare(
    folder: Path | None,
    pypi: str | None,
    name: str | None,
    version: str | None,
    entry: str | None,
    permissions: dict[str, Any] | None,
    pure: bool,
) -> AbstractContextManager[Prepared]:
    from pearrt.publish import stage

    if (folder is None) == (pypi is None):
        raise UserError(
            "Name a folder, or a package with --pypi.", hint="pearrt stage . or --pypi black==24.8.0"
        )
    if pypi is not None:
        if version:
            raise UserError("The version of a package is part of --pypi NAME==VERSION.")
        return stage.from_pypi(pypi, entry=entry or "", name=name or "", permissions=permissions, pure=pure)
    assert folder is not None
    if not (name or version or entry or permissions):
        return stage.from_project(folder)
    if not (name and version and entry):
        raise UserError("A plain folder needs --name, --version and --entry.")
    return stage.from_folder(folder, name=name, version=version, entry=entry, permissions=permissions)


def _read_permissions(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"Cannot read {path}: {e}.") from e
    permissions = table.get("permissions")
    if not isinstance(permissions, dict) or len(table) != 1:
        raise UserError(f"{path} must hold one table, [permissions].")
    return permissions

"""`pearrt dump`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from pearrt.cli.options import link_argument, open_daemon
from pearrt.cli.output import Output, speaking
from pearrt.errors import NoSuchApp, StoreError, UserError
from pearrt.link import Link


@speaking(name="dump")
@link_argument
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--metadata", is_flag=True, help="The signed metadata instead of the files.")
def command(output: Output, link: Link, folder: Path, metadata: bool) -> None:
    """Write an installed app's files, or its signed metadata, to a folder.

    FOLDER must not exist yet.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already.", hint="Name a folder that does not.")
    daemon = open_daemon()
    if metadata:
        written = _dump_metadata(daemon.metadata(link), folder)
    else:
        app = daemon.launch(link)
        if app is None:
            raise NoSuchApp(f"{link.key_text} is not installed.")
        try:
            shutil.copytree(app.folder, folder)
        except (OSError, shutil.Error) as e:
            raise StoreError(f"Cannot write {folder}: {e}.") from e
        written = sum(path.is_file() for path in folder.rglob("*"))
    output.result({"folder": str(folder), "files": written}, f"{written} files in {folder}")


def _dump_metadata(files: dict[str, str], folder: Path) -> int:
    try:
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / Path(name).name).write_text(text, encoding="utf-8")
    except OSError as e:
        raise StoreError(f"Cannot write {folder}: {e}.") from e
    return len(files)

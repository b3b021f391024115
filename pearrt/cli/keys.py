"""`pearrt keys`."""

from __future__ import annotations

from pathlib import Path

import click

from pearrt.cli.options import ask_password
from pearrt.cli.output import Output, printable, speaking
from pearrt.paths import Home


@click.group(name="keys")
def command() -> None:
    """Make and show signing keys.

    A key signs releases. Its file is encrypted with your password; give others only the public line.
    """


@speaking(name="new")
@click.argument("name")
@click.option("--comment", default="", help="How others see the key; the name where it is left out.")
@click.option("--password-file", type=click.Path(path_type=Path), help="Password on its first line.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to put the files, instead of pearrt's own."
)
def new(output: Output, name: str, comment: str, password_file: Path | None, folder: Path | None) -> None:
    """Make a signing key, encrypted with a password (Argon2id, XSalsa20-Poly1305)."""
    from pearrt.publish.keys import SUFFIX, new_key, read_password

    home = Home.from_environment()
    if folder is None:
        home.prepare()
    folder = folder or home.keys
    password = (
        read_password(password_file) if password_file else ask_password(f"Password for {name}", twice=True)
    )
    public = new_key(folder, name, password, comment)
    path = folder / (name + SUFFIX)
    output.result({"file": str(path), "public": str(public)}, f"{public}")
    output.say(
        f"The key is in {path}. Keep a copy offline: whoever loses it and the password cannot sign again."
    )


@speaking(name="list")
@click.option("--folder", type=click.Path(path_type=Path), help="Another folder than pearrt's own.")
def list_(output: Output, folder: Path | None) -> None:
    """List your signing keys by file, with their public lines."""
    from pearrt.publish.keys import list_keys

    keys = list_keys(folder or Home.from_environment().keys)
    found = [{"file": str(path), "public": str(public)} for path, public in keys.items()]
    output.result(
        found, lambda: "\n".join(printable(f"{k['file']}  {k['public']}") for k in found) or "No keys yet."
    )


@speaking(name="show")
@click.argument("key")
def show(output: Output, key: str) -> None:
    """Print the public line of a key: what others need to name you as a signer."""
    from pearrt.publish.keys import find_public

    public = find_public(Home.from_environment().keys, key)
    output.result({"public": str(public)}, printable(str(public)))


for subcommand in (new, list_, show):
    command.add_command(subcommand)

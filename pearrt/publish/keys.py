"""The signing keys of one person: key files in a folder, found by name or by public key."""

from __future__ import annotations

import re
from pathlib import Path

from pearrt.crypto import keyfile
from pearrt.crypto.keyfile import Argon2Cost, PublicKey
from pearrt.errors import UserError
from pearrt.publish.ssh_key import MAX_LINE_CHARS, is_ssh_key, parse_ssh_key

SUFFIX = ".key"
MAX_PASSWORD_BYTES = 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def new_key(
    folder: Path, name: str, password: str, comment: str = "", *, cost: Argon2Cost | None = None
) -> PublicKey:
    """Makes `<folder>/<name>.key` and `<name>.pub`; the comment defaults to the name. Raises UserError."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name[:64]!r} is no name for a key.", hint="Use letters, digits and . _ @ -")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return keyfile.create(folder / (name + SUFFIX), password, comment or name, cost=cost or Argon2Cost())


def list_keys(folder: Path) -> dict[Path, PublicKey]:
    """The key files of the folder, by name, with their public keys; none where there is no folder."""
    paths = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    return {path: keyfile.read_public(path) for path in paths}


def find_key(folder: Path, text: str) -> Path:
    """The key file that `text` names: a path, a name in the folder, or a public key. Raises UserError."""
    if text.startswith(keyfile.PREFIX):
        wanted = PublicKey.parse(text).key
        for path, public in list_keys(folder).items():
            if public.key == wanted:
                return path
    else:
        for path in (Path(text), folder / text, folder / (text + SUFFIX)):
            if path.is_file():
                return path
    raise UserError(f"There is no key {text[:80]!r} here.", hint="`pearrt keys list` shows your keys.")


def find_public(folder: Path, text: str) -> PublicKey:
    """The public key that `text` is, or that lies in the file or key that it names. Raises UserError.

    An ssh-ed25519 key, as OpenSSH writes it, is one too.
    """
    if text.startswith(keyfile.PREFIX):
        return PublicKey.parse(text)
    if is_ssh_key(text):
        return parse_ssh_key(text)
    path = find_key(folder, text)
    with path.open("rb") as file:
        line = file.read(MAX_LINE_CHARS).decode("utf-8", "replace")
    return parse_ssh_key(line) if is_ssh_key(line) else keyfile.read_public(path)


def read_password(path: Path) -> str:
    """The first line of a file. Raises UserError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_PASSWORD_BYTES).split(b"\n")[0].rstrip(b"\r").decode()
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"Cannot read the password from {path}.") from e

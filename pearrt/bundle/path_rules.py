"""Which paths a bundle may hold: only those that mean one and the same file on every platform.

Rules, all checked before anything touches a disk:
- relative, `/` between components, no empty component, no `.` or `..`; at most 4,096 bytes of UTF-8, 255 a
  component, 32 components;
- no control, format (right-to-left override, zero width), surrogate, private-use or unassigned character, no
  line separator, none of `< > : " | ? * \\` (drives, alternate streams, UNC and wildcards on Windows);
- no component that ends in a dot or a space, none that Windows takes for a device (`CON`, `aux.txt`);
- no two paths that any file system would fold into one: compared after canonical decomposition, upper and
  lower casing (so `A`/`a`, NFC/NFD twins, `ß`/`ss`, Turkish dotted and dotless i); that holds for every
  parent folder too;
- no path that is both a file and a folder.

The message of an error shows the path escaped: it is hostile until proven otherwise.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from pearrt.errors import LimitExceeded, ProtocolViolation

MAX_PATH_BYTES = 4096
MAX_COMPONENT_BYTES = 255
MAX_COMPONENTS = 32
MAX_FOLDERS = 100_000

# Control, format, surrogate, private use, unassigned; line and paragraph separators.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_REFUSED_CHARACTERS = frozenset('<>:"|?*\\')
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\..*)?",
    re.IGNORECASE | re.DOTALL,
)
_PLAIN = re.compile(r"[A-Za-z0-9_+@=,~(){}\[\]!#$%&';^`. -]+")


def check_path(path: str) -> None:
    """Raises ProtocolViolation for a path that breaks a rule, LimitExceeded for one too long or deep."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError as e:
        raise ProtocolViolation(f"path {shown(path)}: a lone surrogate") from e
    if size > MAX_PATH_BYTES:
        raise LimitExceeded(f"a path of {size} bytes; at most {MAX_PATH_BYTES} are allowed")
    components = path.split("/")
    if len(components) > MAX_COMPONENTS:
        raise LimitExceeded(f"a path of {len(components)} components; at most {MAX_COMPONENTS} are allowed")
    for component in components:
        if reason := _fault(component):
            raise ProtocolViolation(f"path {shown(path)}: {reason}")


def _fault(component: str) -> str:
    """What is wrong with one component; empty when nothing is."""
    if component in ("", ".", ".."):
        return "absolute, or with an empty, '.' or '..' component"
    if component[-1] in ". ":
        return "a component ends in a dot or a space"
    if len(component.encode()) > MAX_COMPONENT_BYTES:
        return f"a component is longer than {MAX_COMPONENT_BYTES} bytes"
    if _DEVICE.fullmatch(component):
        return "a name that Windows takes for a device"
    if not _PLAIN.fullmatch(component):
        return character_fault(component)
    return ""


def character_fault(text: str) -> str:
    """The first character that neither a path nor a name may hold, described; empty when there is none."""
    for character in text:
        if character in _REFUSED_CHARACTERS or unicodedata.category(character) in _REFUSED_CATEGORIES:
            return f"character U+{ord(character):04X} is not allowed"
    return ""


def fold(text: str) -> str:
    """The key under which two names collide on at least one file system that people use."""
    if text.isascii():
        return text.lower()
    cased = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).upper().casefold())
    return cased.replace("i\u0307", "i")  # the Turkish dotted capital folds to i with a dot above


def check_paths(paths: Iterable[str]) -> None:
    """Checks each path and that no two collide. Raises ProtocolViolation or LimitExceeded."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        check_path(path)
        folded = fold(path)
        if folded in files:
            raise ProtocolViolation(
                f"paths {shown(files[folded])} and {shown(path)} are one file on some systems"
            )
        files[folded] = path
        _add_folders(path, folders)
    for folded, folder in folders.items():
        if folded in files:
            raise ProtocolViolation(f"path {shown(folder)} is both a file and a folder")


def _add_folders(path: str, folders: dict[str, str]) -> None:
    """Notes every parent of `path`; refuses one that is spelled in two ways."""
    parent = path.rpartition("/")[0]
    while parent:
        folded = fold(parent)
        known = folders.get(folded)
        if known == parent:
            return
        if known is not None:
            raise ProtocolViolation(
                f"folders {shown(known)} and {shown(parent)} are one folder on some systems"
            )
        if len(folders) >= MAX_FOLDERS:
            raise LimitExceeded(f"more than {MAX_FOLDERS} folders")
        folders[folded] = parent
        parent = parent.rpartition("/")[0]


def shown(path: str) -> str:
    """`path` as it may stand in a message: ASCII, escaped, at most 80 characters."""
    text = ascii(path)
    return text if len(text) <= 80 else text[:76] + "...'"

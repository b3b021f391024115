"""Writes docs/reference/ and the man page from the code: commands, exit codes, settings, limits.

`make docs` runs it; a test runs it with --check and fails while a page is not what this would write.
"""

from __future__ import annotations

import importlib
import re
import sys
import textwrap
from pathlib import Path

from command_tree import Command, Option, commands
from man_text import man_page

from pearrt import errors, settings

# Bounds on what comes from outside: heading -> (what, module, constant).
LIMITS: dict[str, list[tuple[str, str, str]]] = {
    "Encodings": [
        ("Depth of bencoded values", "pearrt.codec.bencode", "MAX_DEPTH"),
        ("Values in one bencoded text", "pearrt.codec.bencode", "MAX_ITEMS"),
        ("Depth of JSON", "pearrt.codec.canonical", "MAX_DEPTH"),
        ("Integers in JSON", "pearrt.codec.canonical", "MAX_INT"),
        ("Characters of a link", "pearrt.link", "MAX_LINK_CHARS"),
        ("Hints of a kind in a link", "pearrt.link", "MAX_HINTS"),
    ],
    "Metadata": [
        ("Bytes of each role's file", "pearrt.trust.envelope", "MAX_BYTES"),
        ("Signatures on one file", "pearrt.trust.envelope", "MAX_SIGNATURES"),
        ("Keys in a root", "pearrt.trust.authority", "MAX_KEYS"),
        ("New roots in one update", "pearrt.trust.metadata_set", "MAX_ROOT_STEPS"),
        ("Bytes of a set beside its roots", "pearrt.trust.metadata_set", "MAX_CURRENT_BYTES"),
        ("Answers for the roots of one set", "pearrt.trust.root_steps", "MAX_ANSWERS"),
        ("Releases in a targets file", "pearrt.trust.release", "MAX_TARGETS"),
        ("Bytes of an index that a release may name", "pearrt.trust.release", "MAX_INDEX_BYTES"),
        ("Blocks of an index", "pearrt.trust.release", "MAX_INDEX_BLOCKS"),
        ("Characters of release notes", "pearrt.trust.release", "MAX_NOTES_CHARS"),
        ("Releases in a log", "pearrt.trust.log", "MAX_LEAVES"),
        ("Bytes of a proof of contradicting statements", "pearrt.trust.contradiction", "MAX_PROOF_BYTES"),
    ],
    "Bundles": [
        ("Bytes of a block", "pearrt.bundle.index", "BLOCK_BYTES"),
        ("Bytes of a frame, unpacked", "pearrt.bundle.index", "MAX_FRAME_BYTES"),
        ("Bytes of an index", "pearrt.bundle.index", "MAX_INDEX_BYTES"),
        ("Files", "pearrt.bundle.index", "MAX_FILES"),
        ("Frames", "pearrt.bundle.index", "MAX_FRAMES"),
        ("Bytes of all files", "pearrt.bundle.index", "MAX_TREE_BYTES"),
        ("Bytes of a path", "pearrt.bundle.path_rules", "MAX_PATH_BYTES"),
        ("Bytes of a component", "pearrt.bundle.path_rules", "MAX_COMPONENT_BYTES"),
        ("Components of a path", "pearrt.bundle.path_rules", "MAX_COMPONENTS"),
        ("Bytes of a manifest", "pearrt.bundle.manifest", "MAX_MANIFEST_BYTES"),
    ],
    "Peers": [
        ("Bytes of a record", "pearrt.peer.framing", "MAX_RECORD_BYTES"),
        ("Proofs in a JOIN", "pearrt.peer.messages", "MAX_PROOFS"),
        ("Bytes of a METADATA", "pearrt.peer.messages", "MAX_METADATA_BYTES"),
        ("Bytes of a BITFIELD", "pearrt.peer.messages", "MAX_BITFIELD_BYTES"),
        ("Ordinals in a HAVE or PROMISE", "pearrt.peer.bodies", "MAX_ORDINALS"),
        ("Blocks in a REQUEST or REFUSE", "pearrt.peer.messages", "MAX_REQUEST_IDS"),
        ("Blocks in a CANCEL", "pearrt.peer.messages", "MAX_CANCEL_IDS"),
        ("Bytes of a BLOCK", "pearrt.peer.messages", "MAX_BLOCK_BYTES"),
        ("Addresses in a PEERS", "pearrt.peer.messages", "MAX_ADDRESSES"),
        ("Bytes of a PROOF", "pearrt.peer.messages", "MAX_PROOF_BYTES"),
    ],
    "DHT": [
        ("Bytes of a datagram", "pearrt.dht.krpc", "MAX_DATAGRAM_BYTES"),
        ("Contacts in an answer", "pearrt.dht.krpc", "MAX_CONTACTS"),
        ("Peers in an answer", "pearrt.dht.krpc", "MAX_PEERS"),
        ("Bytes of an item, bencoded", "pearrt.dht.items", "MAX_VALUE_BYTES"),
        ("Bytes of a salt", "pearrt.dht.items", "MAX_SALT_BYTES"),
    ],
    "Local API": [
        ("Bytes of a request", "pearrt.daemon.api", "MAX_REQUEST_BYTES"),
    ],
    "Running apps": [
        ("Bytes of a frame", "pearrt.sdk.frames", "MAX_FRAME_BYTES"),
        ("Running apps", "pearrt.daemon.channel", "MAX_CHANNELS"),
        ("Calls of an app under way", "pearrt.daemon.channel", "MAX_OPEN_CALLS"),
        ("Frames that wait for an app to read", "pearrt.daemon.wire", "MAX_QUEUED_FRAMES"),
        ("Bytes that wait for an app to read", "pearrt.daemon.wire", "MAX_QUEUED_BYTES"),
        ("Connections of an app to granted hosts", "pearrt.daemon.proxy", "MAX_STREAMS_PER_APP"),
        ("Such connections of all apps", "pearrt.daemon.proxy", "MAX_STREAMS"),
        ("Bytes each way on one", "pearrt.daemon.proxy", "MAX_STREAM_BYTES"),
        ("Bytes of a message in a circle", "pearrt.peer.messages", "MAX_APP_MESSAGE_BYTES"),
        ("Members of a circle or shelf that are linked to", "pearrt.swarm.circle", "MAX_MEMBERS"),
        ("Bytes of a block on a shelf", "pearrt.swarm.shelf", "MAX_SHELF_BLOCK_BYTES"),
        ("Blocks on a shelf", "pearrt.app.shelf", "MAX_BLOCKS"),
        ("Bytes of an app's log file", "pearrt.daemon.app_log", "MAX_BYTES"),
        ("Characters of a page's address", "pearrt.sandbox.address", "MAX_URL_CHARACTERS"),
        ("Hosts in a permission", "pearrt.sandbox.policy", "MAX_HOSTS"),
    ],
    "Ceremony": [
        ("Bytes of a request", "pearrt.publish.request", "MAX_REQUEST_BYTES"),
        ("Bytes of a text with answers", "pearrt.publish.mail_line", "MAX_TEXT_BYTES"),
        ("Answers in a request or a text", "pearrt.publish.answer", "MAX_ANSWERS"),
        ("Bytes of a file shown as a diff", "pearrt.app.review", "MAX_DIFF_BYTES"),
        ("Lines of a diff", "pearrt.app.review", "MAX_DIFF_LINES"),
        ("Bytes of an SSH agent's message", "pearrt.publish.ssh_agent", "MAX_MESSAGE_BYTES"),
        ("Keys of an SSH agent", "pearrt.publish.ssh_agent", "MAX_KEYS"),
    ],
}

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
MAN_PAGE = ROOT / "packaging" / "pearrt.1"
NOTE = "<!-- Generated by docs/generate.py: change the code, then `make docs`. -->\n"


def pages() -> dict[Path, str]:
    """File -> what it should hold."""
    return {
        REFERENCE / "cli.md": cli_page(),
        REFERENCE / "exit-codes.md": exit_codes_page(),
        REFERENCE / "limits.md": limits_page(),
        REFERENCE / "settings.md": settings_page(),
        MAN_PAGE: man_page(),
    }


def cli_page() -> str:
    """Every command with its help, arguments and options."""
    return f"# Commands\n\n{NOTE}\n" + "\n\n".join(_command(command) for command in commands()) + "\n"


def _command(command: Command) -> str:
    lines = [f"## {command.path}", ""]
    for text, as_laid_out in command.paragraphs:
        lines += [textwrap.indent(text, "    ") if as_laid_out else text, ""]
    lines.append(f"    {command.usage}")
    if command.options:
        lines += ["", "| Option | |", "|---|---|", *map(_option, command.options)]
    return "\n".join(lines)


def _option(option: Option) -> str:
    names = _cell(f"`{', '.join(option.names)} {option.takes}".rstrip() + "`")
    return f"| {names}{' (repeatable)' if option.repeatable else ''} | {_cell(option.help)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def exit_codes_page() -> str:
    """Codes and exit codes of all errors; what they mean stands in the tree at the top of errors.py."""
    meanings = dict(re.findall(r"^ {2,}(\w+) {2,}(\S.*)$", errors.__doc__ or "", re.MULTILINE))
    meanings["PearrtError"] = "anything else"
    rows = [
        f"| {cls.exit_code} | `{cls.code}` | {_cell(meanings.get(cls.__name__, ''))} | {_cell(cls.hint)} |"
        for cls in sorted(errors.error_classes(), key=lambda cls: cls.exit_code)
        if cls.__module__ == errors.__name__
    ]
    return f"""# Exit codes and error codes

{NOTE}
A command exits with 0 when it did what it was asked. `pearrt run` exits with the code of the app, or with
128 + the number of the signal that ended it. Ctrl-C ends other commands with 130. Otherwise the first column
applies; the second is the `code` of the error that `--json` prints. Both are stable.

| Exit code | Code | Meaning | Next step |
|---|---|---|---|
{chr(10).join(rows)}
"""


def settings_page() -> str:
    """All settings with their variables and defaults."""
    rows = [
        f"| `{line.name}` | `{line.variable}` | `{line.default}` | {_cell(line.help)} |"
        for line in settings.reference()
    ]
    others = [f"| `{name}` | {_cell(text)} |" for name, text in settings.OTHER_VARIABLES.items()]
    return f"""# Settings

{NOTE}
A flag beats an environment variable, that beats the file `config.toml`, that beats the default. The file lies
in `PEARRT_HOME` where that is set, else in the platform's place for settings (`~/.config/pearrt` on Linux). A
name that does not exist and a value that does not fit are errors. An empty variable counts as unset; `none`
empties a list or lifts a limit. In variables lists are separated by commas; in the file they are arrays of
strings.

| In `config.toml` | Variable | Default | |
|---|---|---|---|
{chr(10).join(rows)}

| Only as a variable | |
|---|---|
{chr(10).join(others)}
"""


def limits_page() -> str:
    """The named bounds, read from the modules that enforce them."""
    parts = [
        f"# Limits\n\n{NOTE}\nWhat is larger, longer or deeper is refused before memory is taken for it.\n"
    ]
    for heading, rows in LIMITS.items():
        parts.append(f"\n## {heading}\n\n| What | At most | Constant |\n|---|---|---|\n")
        for what, module, name in rows:
            value = getattr(importlib.import_module(module), name)
            parts.append(f"| {what} | {_amount(value)} | `{module}.{name}` |\n")
    return "".join(parts)


def _amount(value: int | dict[str, int]) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_amount(part)}" for name, part in value.items())
    power = value.bit_length() - 1
    if value == 1 << power and power >= 20:
        return f"{value:,} (2^{power})"
    return f"{value:,} (2^{power + 1} - 1)" if value == (1 << power + 1) - 1 and power >= 20 else f"{value:,}"


def main() -> int:
    """Writes the pages, or with --check only names those that are not current, and fails if there are any."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        print(path.relative_to(ROOT), file=sys.stderr)
    if "--check" in sys.argv[1:]:
        return 1 if stale else 0
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

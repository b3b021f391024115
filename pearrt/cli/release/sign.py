"""`pearrt release sign`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.options import Keys, key_options, open_daemon
from pearrt.cli.output import Output, printable, speaking
from pearrt.cli.release.request_file import file_of, output_option, read_request, request_argument
from pearrt.cli.release.room import post_answer
from pearrt.errors import UserError
from pearrt.link import Link
from pearrt.paths import Home

if TYPE_CHECKING:
    from pearrt.publish.request import Request
    from pearrt.publish.signers import SigningKey

SUFFIX = ".answer"


@speaking(name="sign")
@request_argument
@key_options
@click.option(
    "--ssh-agent", "agent", is_flag=True, help="Sign with an Ed25519 key that your SSH agent holds."
)
@click.option("--signer", "uri", metavar="URI", help="Sign with what securesystemslib opens: file2:…, hv:…")
@click.option(
    "--as", "wanted", metavar="PUBLIC-KEY", help="Which key it is: with --signer, or of an agent's."
)
@click.option(
    "--blind", is_flag=True, help="Sign what was not reviewed on this machine; asks for the six words."
)
@click.option("--words", help="The six words, for --blind without a terminal.")
@click.option("--instead", is_flag=True, help="It replaces another request of this version that you signed.")
@click.option(
    "--post/--no-post",
    default=None,
    help="Put the answer into the release room of the LINK; it is signed once more for that.",
)
@output_option
def command(
    output: Output,
    where: Path | Link,
    keys: Keys,
    agent: bool,
    uri: str | None,
    wanted: str | None,
    blind: bool,
    words: str | None,
    instead: bool,
    post: bool | None,
    target: Path | None,
) -> None:
    """Sign a request that was reviewed on this machine.

    Prints the answer, one line that survives e-mail, and writes it to a file. Send either to whoever collects
    the answers. --blind signs without a review here: type the six words that somebody who reviewed it read
    to you. With the LINK of a release room, --post puts the answer there, where the requester finds it; no
    file is written then, unless by --output.
    """
    from pearrt.app.drafting import trusted_here
    from pearrt.atomic import write_file
    from pearrt.publish.ceremony import all_signers, drafts_of
    from pearrt.publish.commit import check_current
    from pearrt.publish.desk import Desk
    from pearrt.publish.draft import display_name
    from pearrt.publish.fingerprint import fingerprint
    from pearrt.publish.signers import answer

    if post and isinstance(where, Path):
        raise UserError("An answer is posted to a release room.", hint="Pass the room's link.")
    home = Home.from_environment()
    request = read_request(where)
    check_current(request, trusted_here(home, request.app_key))
    shown = fingerprint(request.digest)
    _check_reviewed(home, request, shown, blind, words)
    desk = Desk.of(home.ceremonies, request.app_key)
    _check_only_one(desk.signed_instead(request), instead)
    key = _key(request, keys, agent, uri, wanted)
    drafts_of(request, key.public)
    signed = answer(request, key)
    desk.note_signed(request, shown)
    name = display_name(all_signers(request)[key.public])
    result: dict[str, Any] = {"answer": str(signed), "signer": name, "fingerprint": shown}
    room = where if isinstance(where, Link) and _to_be_posted(post) else None
    path = target
    if path is None and room is None:
        path = file_of(where, request, f".{_safe(name)}{SUFFIX}")
    if path is not None:
        write_file(path, f"{signed}\n".encode(), mode=0o644)
    stored = 0 if room is None else post_answer(room, request, signed, key, open_daemon())
    result |= {"file": None if path is None else str(path), "posted": stored}
    output.result(result, str(signed))
    how = f"Send this line, or {path}, to whoever collects the answers."
    output.say(printable(f"Signed as {name}. {f'Posted: {stored} nodes hold it.' if room else how}"))


def _to_be_posted(post: bool | None) -> bool:
    """What the person said, or says now; without a terminal the answer stays here."""
    if post is None and sys.stdin.isatty():
        return click.confirm("Post the answer to the release room?", default=True, err=True)
    return bool(post)


def _check_only_one(other: str | None, instead: bool) -> None:
    """Raises UserError where this person signed another request of the same version."""
    if other is not None and not instead:
        raise UserError(
            f"On this machine another request of this version was signed already: “{other}”.",
            hint="If both were published, everyone would be warned of your keys."
            " Is that one dropped for sure? Then sign with --instead.",
        )


def _check_reviewed(home: Home, request: Request, shown: str, blind: bool, words: str | None) -> None:
    """Raises UserError unless the person reviewed this request here, or typed its words."""
    from pearrt.publish.desk import Desk
    from pearrt.publish.fingerprint import check_typed

    if blind:
        if words is None and sys.stdin.isatty():
            words = click.prompt("You did not review this request here. Type its six words", err=True)
        if words is None:
            raise UserError(
                "--blind wants the six words, and there is no terminal to ask on.", hint="--words …"
            )
        check_typed(words, shown)
    elif Desk.of(home.ceremonies, request.app_key).review_of(request) != shown:
        raise UserError(
            "This request was not reviewed on this machine.",
            hint="`pearrt release review REQUEST` shows what it changes; --blind signs without.",
        )


def _key(
    request: Request,
    keys: Keys,
    agent: bool,
    uri: str | None,
    wanted: str | None,
) -> SigningKey:
    """The one key to sign with. Raises UserError where none or several are named."""
    from pearrt.publish.keys import find_public
    from pearrt.publish.signers import SeedKey, UriKey, pick
    from pearrt.publish.ssh_agent import SshAgent

    if bool(agent) + bool(uri) + len(keys.names) != 1:
        raise UserError("Name one key: --key NAME, --ssh-agent, or --signer URI with --as PUBLIC-KEY.")
    public = find_public(Home.from_environment().keys, wanted) if wanted else None
    if uri:
        if public is None:
            raise UserError("--signer needs --as, the public key that it holds.", hint="--as zoe.pub")
        return UriKey.open(uri, public)
    if agent:
        held = SshAgent.from_environment().ed25519_keys()
        return pick(request, [key for key in held if public is None or key.public == public.key])
    return SeedKey(keys.unlock()[0])


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name)

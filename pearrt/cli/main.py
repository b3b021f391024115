"""`pearrt`: the command line. Each command lives in a file of its own and is imported only when it is
used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from pearrt import __version__

INTERRUPTED = 130

# Name -> (module, one line for the overview). The line stands here so that `pearrt --help` imports nothing
# else; a test holds it against the command's own help.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "Run an app by its link, from a .pear file, or a folder of your own."),
    "list": ("list", "List the apps on this machine."),
    "info": ("info", "Show who signs an app, its versions, peers and permissions."),
    "seed": ("seed", "Keep giving an app to others, until told otherwise."),
    "verify": ("verify", "Check an installed app, a .pear file or a folder against the signatures, offline."),
    "export": ("export", "Write an app to a .pear file, to carry it by hand."),
    "import": ("import_", "Take an app from a .pear file: verified, installed, given onward."),
    "log": ("log", "List every release of an app with who signed it, verified."),
    "reproduce": ("reproduce", "Rebuild a release from its sources and say whether it is the same."),
    "attest": ("attest", "Rebuild a release from its sources and sign what came of it."),
    "dump": ("dump", "Write an installed app's files, or its signed metadata, to a folder."),
    "permissions": ("permissions", "Show and take back what apps may do."),
    "uninstall": ("uninstall", "Remove an app from this machine."),
    "gc": ("gc", "Free the disk of blocks that no app needs."),
    "bootstrapper": ("bootstrapper", "Make one small file that installs pearrt, or starts an app, anywhere."),
    "keys": ("keys", "Make and show signing keys."),
    "app": ("app", "Create an app: its link, signers and threshold."),
    "stage": ("stage", "Turn a folder, project or PyPI package into a bundle."),
    "release": ("release", "Prepare, review, sign and publish releases."),
    "witness": ("witness", "Vouch as a witness for having seen what an app is about to release."),
    "versions": ("versions", "Show pearrt's own versions on this machine."),
    "update": ("update", "Bring pearrt itself up to date, or put that off."),
    "rollback": ("rollback", "Go back to the version before, of pearrt or of an app."),
    "pin": ("pin", "Choose which versions of pearrt are taken, from which channel and when."),
    "daemon": ("daemon", "Start, stop and look at the background daemon."),
    "dht": ("dht", "Speak to the distributed hash table directly."),
    "doctor": ("doctor", "Say what this machine can contain, and how to mend what it cannot."),
    "demo": ("demo", "Show the whole line on this machine: publish, sign, run, update, seed."),
    "completion": ("completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pearrt.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else " `pearrt --help` lists the commands."
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pearrt", message="%(prog)s %(version)s")
def cli() -> None:
    """Run apps by cryptographic key, peer to peer.

    An app's link names a key, not a server. Peers find each other, every byte is verified against a threshold
    of the app's signers, the kernel contains what runs, and who runs an app gives it to others.

    \b
        pearrt run pearrt://…        run an app
        pearrt demo                  see it all work on this machine
    """


def main() -> None:
    """The entry point of the `pearrt` command."""
    try:
        code = cli.main(prog_name="pearrt", standalone_mode=False)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as e:
        _show(e)
        sys.exit(e.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _show(error: click.ClickException) -> None:
    """A command line that is wrong: for scripts the same envelope as any other error."""
    if "--json" not in sys.argv:
        error.show()
        return
    from pearrt.cli.output import Output
    from pearrt.errors import UserError

    hint = "`--help` shows how it is called."
    Output(as_json=True).error(UserError(error.format_message(), hint=hint))

"""Every command speaks the same way: envelope, error with its next step, exit code."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from pearrt.cli.main import COMMANDS, cli
from pearrt.cli.output import Output, ago, printable, size, speaking
from pearrt.errors import ThresholdNotMet


@speaking(name="works")
def works(output: Output) -> None:
    output.say("talk")
    output.result({"n": 1}, "one")


@speaking(name="fails")
def fails(output: Output) -> None:
    raise ThresholdNotMet("2 of 3.", hint="Ask carol.")


def test_data_goes_to_stdout_and_talk_to_stderr() -> None:
    done = CliRunner().invoke(works, [])
    assert (done.exit_code, done.stdout, done.stderr) == (0, "one\n", "talk\n")


def test_json_is_one_envelope_and_nothing_else() -> None:
    done = CliRunner().invoke(works, ["--json"])
    assert json.loads(done.stdout) == {"pearrt": 1, "ok": True, "result": {"n": 1}}
    assert done.stderr == ""


def test_an_error_says_what_happened_and_what_to_do_next() -> None:
    done = CliRunner().invoke(fails, [])
    assert done.exit_code == ThresholdNotMet.exit_code
    assert "2 of 3." in done.stderr
    assert "Ask carol." in done.stderr
    assert done.stdout == ""


def test_an_error_in_json_has_code_message_and_hint() -> None:
    done = CliRunner().invoke(fails, ["--json"])
    error = {"code": "threshold-not-met", "message": "2 of 3.", "hint": "Ask carol."}
    assert json.loads(done.stdout) == {"pearrt": 1, "ok": False, "error": error}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_overview_says_what_the_command_says_of_itself(name: str) -> None:
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".") in COMMANDS[
        name
    ][1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json(name: str) -> None:
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
    for leaf in leaves:
        assert leaf is not None
        assert any("--json" in option.opts for option in leaf.params), leaf.name


def test_a_misspelt_command_gets_a_suggestion() -> None:
    done = CliRunner().invoke(cli, ["sead"])
    assert done.exit_code == 2
    assert "Did you mean seed?" in done.stderr


def test_terminal_escapes_in_foreign_text_are_not_passed_on() -> None:
    assert printable("a\x1b[2Jb\u202e") == "a�[2Jb�"


def test_sizes_and_spans_for_people() -> None:
    assert [size(n) for n in (5, 2048, 3 << 20, 5 << 30)] == ["5 B", "2.0 KiB", "3.0 MiB", "5.0 GiB"]
    assert [ago(n) for n in (4, 61, 7200, 86_400, 9e6)] == ["4 s", "1 min", "2 h", "1 day", "104 days"]

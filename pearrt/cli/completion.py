"""`pearrt completion`."""

from __future__ import annotations

import click

from pearrt.cli.output import Output, speaking


@speaking(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(output: Output, shell: str) -> None:
    """Print the completion script of a shell.

    For bash: pearrt completion bash > ~/.local/share/bash-completion/completions/pearrt
    """
    from click.shell_completion import get_completion_class

    from pearrt.cli.main import cli

    completion = get_completion_class(shell)
    assert completion is not None, "click knows these shells"
    script = completion(cli, {}, "pearrt", "_PEARRT_COMPLETE").source()
    output.result({"shell": shell, "script": script}, script)

"""The command tree as plain values, for the pages that are generated from it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import click

from pearrt.cli.main import cli


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its names, what it takes (nothing for a flag) and its help with the default."""

    names: tuple[str, ...]
    takes: str
    help: str
    repeatable: bool


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `path` as typed, usage line, paragraphs of help, each with whether to keep its layout."""

    path: str
    usage: str
    paragraphs: tuple[tuple[str, bool], ...]
    options: tuple[Option, ...]


def commands() -> Iterator[Command]:
    """Every command that is not hidden, groups before their members, in the order of `--help`."""
    for context in _contexts(click.Context(cli, info_name="pearrt")):
        params = context.command.params
        yield Command(
            path=context.command_path,
            usage=_usage(context),
            paragraphs=tuple(_paragraphs(context.command.help or "")),
            options=tuple(
                _option(item) for item in params if isinstance(item, click.Option) and not item.hidden
            ),
        )


def _contexts(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield from _contexts(click.Context(command, info_name=name, parent=context))


def _paragraphs(text: str) -> Iterator[tuple[str, bool]]:
    for block in inspect.cleandoc(text).split("\f")[0].strip().split("\n\n"):
        if block.startswith("\b\n"):
            yield inspect.cleandoc(block.removeprefix("\b\n")), True
        elif block:
            yield block, False


def _usage(context: click.Context) -> str:
    words = [context.command_path]
    if any(isinstance(param, click.Option) for param in context.command.params):
        words.append("[OPTIONS]")
    for param in context.command.params:
        if isinstance(param, click.Argument):
            word = param.metavar or (param.name or "").upper()
            word += "..." if param.nargs != 1 else ""
            words.append(word if param.required else f"[{word}]")
    if isinstance(context.command, click.Group):
        words.append("COMMAND [ARGS]...")
    return " ".join(words)


def _option(option: click.Option) -> Option:
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    takes = option.metavar or "|".join(map(str, choices)) or option.type.name.upper().removesuffix(" RANGE")
    silent = option.is_flag or option.count
    shown = isinstance(option.default, (str, int, float)) and option.default != "" and not silent
    return Option(
        names=(*option.opts, *option.secondary_opts),
        takes="" if silent else takes,
        help=" ".join((option.help or "").split()) + (f" Default: {option.default}." if shown else ""),
        repeatable=option.multiple,
    )

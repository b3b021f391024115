"""A progress bar for people at a terminal, nothing for others. rich is imported when the first step comes."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from pearrt.app.progress import Progress, Stage

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

SHOW_AFTER_S = 0.3  # what is faster than this needs no bar


class ProgressBar:
    """A context manager; call it with each step. Gone when the work ends."""

    def __init__(self, *, shown: bool) -> None:
        self.shown = shown and sys.stderr.isatty()
        self.bar: Bar | None = None
        self.tasks: dict[Stage, TaskID] = {}
        self.started = time.monotonic()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, step: Progress) -> None:
        if not self.shown or time.monotonic() - self.started < SHOW_AFTER_S:
            return
        bar = self.bar or self._start()
        if step.stage not in self.tasks:
            for task in self.tasks.values():
                bar.update(task, visible=False)
            self.tasks[step.stage] = bar.add_task(step.stage.value, total=None, peers="")
        peers = f"{len(step.sources)} peers" if step.sources else step.detail
        bar.update(self.tasks[step.stage], completed=step.done, total=step.total or None, peers=peers)

    def _start(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, SpinnerColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        self.bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TextColumn("{task.fields[peers]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self.bar.start()
        return self.bar

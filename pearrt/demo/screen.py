"""What the demo shows while it plays: the acts as lines, the machines as a live table."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from pearrt.cli.output import size
from pearrt.demo.office import Machine
from pearrt.sandbox.report import Report


class Screen:
    """A context manager. Without a terminal only the lines and the closing table are printed; `quiet` prints
    nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(quiet=quiet)
        self.live = Live(console=self.console, refresh_per_second=8, transient=True)
        self.acts = 0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def act(self, text: str) -> None:
        self.acts += 1
        self.console.print(f"\n[bold cyan]{self.acts}[/]  [bold]{text}[/]", highlight=False)

    def note(self, text: str) -> None:
        self.console.print(f"   {text}", highlight=False)

    def warn_unsandboxed(self, report: Report) -> None:
        self.console.print(
            Panel(
                "This machine offers no way to contain an app, "
                "so the demo's own app runs WITHOUT A SANDBOX.\n"
                "An app that was fetched from others would be refused here.\n\n" + report.describe(),
                title="no sandbox",
                border_style="bold red",
            )
        )

    def show(self, machines: list[Machine]) -> None:
        self.live.update(_table(machines, "who gets what from whom"))

    def summary(self, figures: dict[str, Any]) -> None:
        table = Table(title="what it took", title_justify="left")
        for name in ("machine", "seconds to first word", "from the seeder", "from each other", "given on"):
            table.add_column(name, justify="left" if name == "machine" else "right")
        for row in figures["machines"]:
            seconds = "" if row["run_s"] is None else f"{row['run_s']:.1f}"
            given = (row["from_seeder"], row["from_others"], row["given"])
            table.add_row(row["machine"], seconds, *(size(count) if count else "–" for count in given))
        self.console.print(table)
        self.console.print(
            f"Version 2.0 reached the whole office in {figures['spread_s']} s; "
            f"the demo took {figures['seconds']} s and left nothing behind.",
            highlight=False,
        )

    def row(self, each: Machine, machines: list[Machine]) -> dict[str, Any]:
        """The closing figures of one machine; sizes in bytes of blocks."""
        seeder = machines[0].peer_id
        sources: dict[str, int] = each.facts.get("sources", {})
        return {
            "machine": each.name,
            "run_s": None if each.ran_after_s is None else round(each.ran_after_s, 2),
            "from_seeder": sources.get(seeder, 0),
            "from_others": sum(count for peer, count in sources.items() if peer != seeder),
            "given": sum(other.facts.get("sources", {}).get(each.peer_id, 0) for other in machines),
        }


def _table(machines: list[Machine], title: str) -> Table:
    names = {each.peer_id: each.name.replace("office ", "") for each in machines}
    table = Table(title=title, title_justify="left", expand=False)
    for name in ("machine", "state", "version", "peers", "blocks from"):
        table.add_column(name, justify="right" if name == "peers" else "left")
    for each in machines:
        sources: dict[str, int] = each.facts.get("sources", {})
        ranked = sorted(sources.items(), key=lambda item: -item[1])
        got = "  ".join(f"{names.get(peer, '?')} {size(count)}" for peer, count in ranked[:4])
        table.add_row(
            each.name, each.state, each.facts.get("version") or "", str(len(each.facts.get("peers", []))), got
        )
    return table

"""Plays the demo and draws what it said: docs/demo.svg, the picture in the README. Run it by hand."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.live import Live

from pearrt.demo.screen import Screen
from pearrt.demo.story import tell

WIDTH = 92
# Without web fonts and the comment: a picture loads nothing and names no site.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def main() -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    screen = Screen()
    screen.console, screen.live = console, Live(console=console)
    with screen:
        figures = asyncio.run(tell(screen))
    screen.summary(figures)
    svg = console.export_svg(title="pearrt demo", code_format=FORMAT, unique_id="demo")
    (Path(__file__).parent / "demo.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()

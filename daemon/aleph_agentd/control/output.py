"""What a verb says: tables and sentences for people, or JSON for programs. The only importer of rich."""

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aleph_agentd.control.text import plain
from aleph_agentd.domain.errors import Refusal

_WIDE = 400
"""Columns when nobody's terminal sets them: lines in a pipe are not to be folded."""

STYLES = {
    "running": "green",
    "provisioning": "cyan",
    "intended": "cyan",
    "destroying": "yellow",
    "expired": "yellow",
    "stale": "yellow",
    "orphan": "red",
    "failed": "red",
    "gone": "dim",
}


def console(stream: TextIO) -> Console:
    """Colours only on a terminal, and no markup ever: names come from agents."""
    terminal = stream.isatty()
    return Console(
        file=stream,
        force_terminal=terminal,
        width=None if terminal else _WIDE,
        markup=False,
        emoji=False,
        highlight=False,
    )


def say(line: str = "", style: str = "") -> None:
    """One line for people on stdout."""
    console(sys.stdout).print(Text(line, style=style), soft_wrap=True)


def say_json(value: Any) -> None:
    """One JSON document on a line of its own."""
    # Control characters leave json.dumps escaped, and so do all that are not ASCII: safe on any terminal.
    print(json.dumps(value), flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], whole: Collection[str] = ()) -> None:
    """Aligned columns, those in `whole` never folded; a cell that is a VM's state has its colour."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        grid.add_column(name, overflow="fold", no_wrap=name in whole)
    for row in rows:
        grid.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    _print(grid)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """`name  value` lines, aligned; a value of several lines keeps its column."""
    grid = Table.grid("name", "value", padding=(0, 2, 0, 0))
    grid.columns[0].no_wrap = True
    for name, value in pairs:
        grid.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    _print(grid)


def painted(lines: Iterable[Sequence[tuple[str, str]]], width: int) -> list[str]:
    """Lines of styled pieces for a terminal that is drawn over: cut at its width, never folded."""
    out = Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False)
    found = []
    for line in lines:
        text = Text.assemble(*line, no_wrap=True, end="")
        text.truncate(width, overflow="ellipsis")
        with out.capture() as capture:
            out.print(text, end="", soft_wrap=True)
        found.append(capture.get())
    return found


def _print(grid: Table) -> None:
    out = console(sys.stdout)
    with out.capture() as capture:
        out.print(grid)
    # rich fills the last column with spaces, which are in the way of whoever copies or compares.
    lines = capture.get().splitlines()
    sys.stdout.write("".join(line.rstrip() + "\n" for line in lines))


def complain(refusal: Refusal, *, as_json: bool) -> None:
    """What, why and the exact next step, on stderr; the same as JSON on stdout if that was asked for."""
    if as_json:
        say_json({"error": refusal.as_dict()})
    errors = console(sys.stderr)
    errors.print(Text("error: ", style="bold red") + Text(plain(refusal.message)), soft_wrap=True)
    if refusal.hint:
        errors.print(Text("  next: ", style="bold") + Text(plain(refusal.hint)), soft_wrap=True)

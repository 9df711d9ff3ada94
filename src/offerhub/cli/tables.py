"""Lists on a terminal. An id is never cut: who reads it is about to type it.

Where a table has no room on the terminal, each row is shown as a block of lines; where there is no terminal, a table
is as wide as it has to be, for the program that reads it.
"""

import os
import sys
from collections.abc import Collection, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

FOLDED_MIN: Final = 24
"""A column that may be folded is not made narrower than this."""
WITHOUT_TERMINAL: Final = 10_000
BETWEEN: Final = 3
"""What a column needs besides its words."""

Cell = str | Text


def screen() -> Console:
    """Standard output, as wide as the terminal it is."""
    is_bounded = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if is_bounded else WITHOUT_TERMINAL)


def print_list(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    right: Collection[str] = (),
    folded: Collection[str] = (),
) -> None:
    """Print a list. `right` are columns of numbers; `folded` those with sentences, which may take several lines."""
    console = screen()
    if rows and _width(columns, rows, folded) > console.width:
        _print_blocks(console, columns, rows)
        return
    table = Table()
    for name in columns:
        table.add_column(
            name, justify="right" if name in right else "left", no_wrap=name not in folded, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console.print(table)


def _width(columns: Sequence[str], rows: Sequence[Sequence[Cell]], folded: Collection[str]) -> int:
    needed = 1
    for place, name in enumerate(columns):
        widest = max(len(name), *(len(row[place]) for row in rows))
        needed += BETWEEN + (min(widest, FOLDED_MIN) if name in folded else widest)
    return needed


def _print_blocks(console: Console, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    margin = max(map(len, columns))
    for row in rows:
        for name, cell in zip(columns, row, strict=True):
            if len(cell):
                console.print(Text(f"{name:<{margin}}  ", style="dim") + cell, soft_wrap=True)
        console.print()

"""Tables of what a sandbox answers."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def rows(title: str, columns: Sequence[str], found: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print rows: as JSON all of each, as a table these columns."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table(*columns, title=title, title_justify="left")
    for row in found:
        table.add_row(*[_text(row.get(column)) for column in columns])
    console = Console()
    console.print(table)
    if not found:
        console.print("none")


def facts(found: dict[str, Any], *, as_json: bool) -> None:
    """Print one thing, field by field."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console = Console()
    for name, value in found.items():
        console.print(f"{name}: {_text(value)}", markup=False, highlight=False, soft_wrap=True)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)

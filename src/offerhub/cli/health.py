"""`offerhub health`: what a running service says of itself and of what it depends on."""

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from offerhub.cli.remote import NOWHERE, Access, AsJson

STATUSES: Final[Mapping[str, int]] = {"healthy": 0, "unhealthy": 1, "degraded": 3}
"""What the program ends with; 2 is for no answer, as everywhere."""
_COLOURS: Final[Mapping[str, str]] = {"healthy": "green", "degraded": "yellow", "unhealthy": "red"}
_FACTS: Final[Mapping[str, str]] = {"version": "migration", "lag": "seconds behind:", "breaker": "breaker"}


def health(*, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Ask every dependency of a running service. Needs no key.

    Exits with 0 when it is healthy, 1 when it is unhealthy, 2 when nothing answers, 3 when it is degraded.
    """
    told = access.service(key_needed=False).ask("GET", "/health/detailed")["data"]
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        console = Console()
        console.print(_table(told["dependencies"]))
        console.print(f"{_coloured(told['status'])}, version {told['version']}", highlight=False)
    sys.exit(STATUSES.get(told["status"], 1))


def _table(dependencies: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table("dependency", "status", Column("answered in", justify="right"), "", "why")
    for name, one in dependencies.items():
        unused = one.get("error") == "Not configured"
        facts = [f"{words} {one[field]}" for field, words in _FACTS.items() if field in one]
        latency = f"{one['latency']:.1f} ms" if "latency" in one else ""
        status = "not used" if unused else _coloured(one["status"])
        table.add_row(name, status, latency, ", ".join(facts), "" if unused else escape(one.get("error", "")))
    return table


def _coloured(status: str) -> str:
    colour = _COLOURS.get(status, "red")
    return f"[{colour}]{status}[/{colour}]"

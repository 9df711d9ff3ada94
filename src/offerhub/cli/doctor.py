"""`offerhub doctor`: look at a whole set-up, and say of everything that is wrong what to do."""

import io
import json
import os
import sys
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from offerhub.cli.checkup.configuration import examine_configuration
from offerhub.cli.checkup.product import examine_product
from offerhub.cli.checkup.report import Report, State
from offerhub.cli.checkup.servers import examine_postgres, examine_redis
from offerhub.cli.environment import ENV_FILE, CommandError, run, services
from offerhub.cli.remote import AsJson
from offerhub.kernel.clock import Clock, SystemClock
from offerhub.runtime import telemetry
from offerhub.runtime.embedded import EmbeddedServicesError
from offerhub.settings import Settings

STATUSES: Final[Mapping[State, int]] = {"ok": 0, "failed": 1, "warning": 3}
"""What the program ends with; 2 is for a command that could not begin, as everywhere."""
_SHOWN: Final[Mapping[State, str]] = {
    "ok": "[green]ok[/green]",
    "warning": "[yellow]warning[/yellow]",
    "failed": "[red]failed[/red]",
    "skipped": "[dim]skipped[/dim]",
}


def doctor(*, as_json: AsJson = False) -> None:
    """Check the configuration, PostgreSQL, Redis, clocks, schema, keys, queues and providers of this set-up.

    Run it where the service runs, with its variables; it changes nothing, and works whether the service runs or not.
    Everything that is wrong is named with its remedy. Exits with 0 when all is well, 1 when something failed, 3 when
    there are only warnings.
    """
    # What goes wrong is told in the report, once.
    telemetry.configure(level="error", stream=io.StringIO())
    report = Report()
    settings = examine_configuration(report, os.environ, ENV_FILE)
    if settings is None:
        report.skipped("servers", "the configuration first")
    else:
        _examine_servers(report, settings)
    _end(report, as_json=as_json)


def check_configuration(*, as_json: AsJson = False) -> None:
    """Check the configuration of this set-up alone: variables, URLs, keys and files; no server is asked.

    For a pipeline, before anything is started. Exits like `offerhub doctor`.
    """
    report = Report()
    examine_configuration(report, os.environ, ENV_FILE)
    _end(report, as_json=as_json)


def _end(report: Report, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.wire(), indent=2, ensure_ascii=False))
    else:
        show(report, Console())
    sys.exit(STATUSES[report.state])


def _examine_servers(report: Report, settings: Settings) -> None:
    try:
        with services(settings, begin=False) as found:
            run(examine_servers(report, found, SystemClock()))
    except CommandError as error:
        report.skipped("servers", f"{error}")
    except EmbeddedServicesError as error:
        report.failed("servers", str(error), "Set DATABASE_URL and REDIS_URL, or mend the data folder.")


async def examine_servers(report: Report, settings: Settings, clock: Clock) -> None:
    """Everything that has to be asked for. Both URLs must be there."""
    redis_usable = await examine_redis(report, settings, clock)
    if await examine_postgres(report, settings, clock):
        await examine_product(report, settings, clock, redis_usable=redis_usable)
    else:
        report.skipped("keys, queue and providers", "the database and its schema first")


def show(report: Report, console: Console) -> None:
    """Print a report for people."""
    table = Table("check", "state", "found")
    for line in report.lines:
        remedy = f"\n[bold]→[/bold] {escape(line.remedy)}" if line.remedy else ""
        table.add_row(line.check, _SHOWN[line.state], escape(line.found) + remedy)
    console.print(table)

"""`offerhub migrate` and `offerhub prove`: the schema, and what is in it."""

import json
import sys
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Column, Table

from offerhub.cli.environment import CommandError, environment, services, settings_of
from offerhub.cli.serve import run
from offerhub.kernel.money import format_chain_amount
from offerhub.operations.proof import Proof, prove
from offerhub.runtime import migrations
from offerhub.runtime.database import Database
from offerhub.settings import Settings


async def _up(settings: Settings) -> None:
    applied = await migrations.migrate(settings.storage.direct_url.reveal())
    console = Console()
    for one in applied:
        console.print(f"applied {one.version:04d}_{one.name} in {one.seconds:.2f} s")
    if not applied:
        console.print("the schema is up to date")


def migrate_up() -> None:
    """Apply every pending migration, one replica at a time."""
    with services(settings_of(environment())) as settings:
        run(_up(settings))


async def _status(settings: Settings) -> None:
    table = Table("version", "name", "state")
    for one in await migrations.status(settings.storage.direct_url.reveal()):
        table.add_row(f"{one.version:04d}", one.name, one.state)
    Console().print(table)


def migrate_status() -> None:
    """Show which migrations are applied, pending, or newer than this program."""
    with services(settings_of(environment())) as settings:
        run(_status(settings))


async def require_schema(settings: Settings) -> None:
    """The commands that look into the database need all of it. Raises CommandError."""
    pending = [one for one in await migrations.status(settings.storage.direct_url.reveal()) if one.state == "pending"]
    if pending:
        raise CommandError(f"the schema is not up to date ({len(pending)} pending): run `offerhub migrate up` first.")


async def _prove(settings: Settings) -> Proof:
    await require_schema(settings)
    database = await Database.connect(settings.storage.database_url.reveal(), pool_size=2, name="offerhub prove")
    try:
        return await prove(database)
    finally:
        await database.close()


def show_proof(proof: Proof, console: Console) -> None:
    """Print a proof: the totals, then what does not hold."""
    totals = Table("account", Column("sum", justify="right"), title="the books")
    for kind, total in proof.totals.items():
        totals.add_row(kind, format_chain_amount(total))
    totals.add_row("all", format_chain_amount(sum(proof.totals.values())), style="bold")
    console.print(totals)
    for finding in proof.findings:
        console.print(f"[red]{finding.check.invariant} does not hold:[/red] {finding.check.sentence}")
        for row in finding.rows:
            console.print(f"    {row}", markup=False, highlight=False)
    verdict = "[green]proven[/green]" if proof.holds else "[red]NOT proven[/red]"
    console.print(
        f"{verdict}: {proof.checks} checks over {proof.postings} postings in {proof.seconds:.2f} s"
        + ("" if proof.holds else f", {len(proof.findings)} do not hold")
    )


def prove_command(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """Derive every balance again from its postings and hold every state against the books.

    Reads only, on one consistent snapshot of the live database. Exits with 1 and shows the offending rows when
    anything does not hold.

    Parameters
    ----------
    as_json
        Print JSON instead of tables.
    """
    found: list[Proof] = []

    async def check(settings: Settings) -> None:
        found.append(await _prove(settings))

    with services(settings_of(environment()), begin=False) as settings:
        run(check(settings))
    if as_json:
        print(json.dumps(found[0].wire(), indent=2))
    else:
        show_proof(found[0], Console())
    if not found[0].holds:
        sys.exit(1)

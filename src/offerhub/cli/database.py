"""`offerhub migrate`: the schema."""

from rich.console import Console
from rich.table import Table

from offerhub.cli.environment import CommandError, environment, run, services, settings_of
from offerhub.runtime import migrations
from offerhub.settings import Settings


async def _up(settings: Settings) -> None:
    applied = await migrations.migrate(settings.storage.direct_url.reveal())
    console = Console()
    for one in applied:
        console.print(f"applied {one.label} in {one.seconds:.2f} s")
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

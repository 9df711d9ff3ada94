"""`offerhub migrate`: the schema; and the database, as other commands look into it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from rich.console import Console
from rich.table import Table

from offerhub.cli.environment import CommandError, environment, run, services, settings_of
from offerhub.runtime import migrations
from offerhub.runtime.database import Database
from offerhub.settings import Settings

T = TypeVar("T")
CONNECTIONS: Final = 2


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


@contextlib.asynccontextmanager
async def connected(url: str, name: str, connections: int = CONNECTIONS) -> AsyncIterator[Database]:
    """The database of this URL while the block runs; `name` is what PostgreSQL calls us."""
    database = await Database.connect(url, pool_size=connections, name=name)
    try:
        yield database
    finally:
        await database.close()


def with_database(work: Callable[[Settings, Database], Awaitable[T]], name: str, connections: int = CONNECTIONS) -> T:
    """What `work` returns, given the settings and the database of this set-up.

    Raises CommandError where there is no database, or not all of its schema.
    """

    async def begin(settings: Settings) -> T:
        await _require_schema(settings)
        async with connected(settings.storage.database_url.reveal(), name, connections) as database:
            return await work(settings, database)

    with services(settings_of(environment()), begin=False) as settings:
        return run(begin(settings))


async def _require_schema(settings: Settings) -> None:
    pending = [one for one in await migrations.status(settings.storage.direct_url.reveal()) if one.state == "pending"]
    if pending:
        raise CommandError(f"the schema is not up to date ({len(pending)} pending): run `offerhub migrate up` first.")

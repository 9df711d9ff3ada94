"""`offerhub migrate rehearse`: what the pending migrations would do, on a clone of the real data."""

import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from cyclopts import Parameter
from rich.console import Console
from rich.table import Column, Table

from offerhub.cli.backup import Bin, write_backup
from offerhub.cli.database import connected
from offerhub.cli.environment import CommandError, environment, run, services, settings_of
from offerhub.cli.prove import show_proof
from offerhub.cli.remote import AsJson
from offerhub.cli.restore import load_backup
from offerhub.operations.proof import Proof, prove
from offerhub.runtime import migrations
from offerhub.runtime.migrations import Migration
from offerhub.settings import Settings

HINDERING: Final = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
"""The locks that somebody who writes has to wait for; the last also stops readers."""
SHOWN: Final = {"AccessExclusiveLock": "nobody reads or writes"}

_TABLES: Final = "SELECT oid::int8 FROM pg_class WHERE relkind IN ('r', 'p')"
_LOCKS: Final = """
SELECT DISTINCT l.relation::int8 AS oid, l.relation::regclass::text AS name, l.mode
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND c.relkind IN ('r', 'p') AND l.mode = ANY($1::text[])
    AND c.relnamespace <> 'pg_catalog'::regnamespace
ORDER BY 2, 3
"""


@dataclass(slots=True)
class Rehearsal:
    """What was seen. `locks` are by migration: tables that were there before, and how they were locked."""

    clone_seconds: float = 0.0
    applied: list[migrations.Applied] = field(default_factory=list)
    locks: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    proof: Proof | None = None

    def wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "cloneSeconds": round(self.clone_seconds, 3),
            "migrations": [
                {
                    "version": one.version,
                    "name": one.name,
                    "seconds": round(one.seconds, 3),
                    "locks": [{"table": table, "mode": mode} for table, mode in self.locks.get(one.version, [])],
                }
                for one in self.applied
            ],
            "proven": None if self.proof is None else self.proof.holds,
        }


def rehearse(
    *,
    clone: Annotated[
        str | None, Parameter(help="An empty database for the clone, instead of one made beside.")
    ] = None,
    postgres_bin: Bin = None,
    as_json: AsJson = False,
) -> None:
    """Apply the pending migrations to a clone of the database, and prove its books; the database itself is only read.

    Shows for each migration how long it took, and which of the tables that are in use it locked meanwhile, so for how
    long they would stand still. The clone is made with pg_dump and pg_restore, while the service runs, and dropped in
    the end. Exits with 1 when a migration fails or the proof does not hold.

    Parameters
    ----------
    clone
        Its data stays there. Without it, a database is made beside the real one, for which the user of DIRECT_URL
        needs the right to create databases.
    """
    with services(settings_of(environment()), begin=False) as settings:
        found = run(rehearse_on_clone(settings, clone, postgres_bin))
    if as_json:
        print(json.dumps(found.wire(), indent=2))
    else:
        _show(found, Console())
    if found.proof is not None and not found.proof.holds:
        sys.exit(1)


async def rehearse_on_clone(settings: Settings, clone: str | None = None, folder: Path | None = None) -> Rehearsal:
    """Clone, migrate, prove. Raises CommandError when it cannot be cloned, MigrationError when a migration fails."""
    url = settings.storage.direct_url.reveal()
    if all(one.state != "pending" for one in await migrations.status(url)):
        return Rehearsal()
    found, started = Rehearsal(), time.perf_counter()
    async with _scratch(url) if clone is None else _given(clone) as target:
        with tempfile.TemporaryDirectory(prefix="offerhub-rehearsal-") as scratch:
            file = Path(scratch) / "clone.dump"
            await load_backup(file, await write_backup(settings, file, folder), target, folder)
        found.clone_seconds = time.perf_counter() - started
        await _migrate(found, target)
        async with connected(target, "offerhub rehearse") as database:
            found.proof = await prove(database)
    return found


async def _migrate(found: Rehearsal, url: str) -> None:
    connection = await asyncpg.connect(url)
    known = {row[0] for row in await connection.fetch(_TABLES)}
    await connection.close()

    async def observe(inside: "asyncpg.Connection[Any]", migration: Migration) -> None:
        locked = await inside.fetch(_LOCKS, HINDERING)
        found.locks[migration.version] = [(row["name"], row["mode"]) for row in locked if row["oid"] in known]
        known.update(row[0] for row in await inside.fetch(_TABLES))

    found.applied = await migrations.migrate(url, observe=observe)


@asynccontextmanager
async def _scratch(url: str) -> AsyncIterator[str]:
    """An empty database beside the one of this URL, dropped in the end."""
    name = f"offerhub_rehearsal_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(url, server_settings={"application_name": "offerhub rehearse"})
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    except asyncpg.InsufficientPrivilegeError as error:
        await connection.close()
        raise CommandError(
            "this user may not create databases: name an empty one with --clone, or ALTER ROLE … CREATEDB."
        ) from error
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()


@asynccontextmanager
async def _given(url: str) -> AsyncIterator[str]:
    yield url


def _show(found: Rehearsal, console: Console) -> None:
    if found.proof is None:
        console.print("nothing is pending: the schema is up to date")
        return
    table = Table("migration", Column("seconds", justify="right"), "tables in use that stand still meanwhile")
    for one in found.applied:
        locks = [f"{name}: {SHOWN.get(mode, 'nobody writes')}" for name, mode in found.locks[one.version]]
        table.add_row(one.label, f"{one.seconds:.2f}", "\n".join(locks) or "none")
    console.print(f"cloned in {found.clone_seconds:.1f} s", highlight=False)
    console.print(table)
    show_proof(found.proof, console)

"""Schema migrations: plain SQL, applied in order, exactly once, however many replicas start at the same time.

A migration is a folder `NNNN_name` with `up.sql` and, when data may stand in its way or must come out right,
`before.sql` and `after.sql`: one query each, whose rows are violations. Checks and change share one transaction,
so a migration is applied with its checks passed or not at all. What `up.sql` was is kept as a SHA-256: an applied
migration that has been edited is refused, because the database would not be what the files say.

A database that is newer than the files is accepted: during a rolling upgrade the old program runs on the new schema.
"""

import asyncio
import hashlib
import itertools
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import asyncpg
import structlog

from offerhub.kernel.chance import jitter
from offerhub.kernel.failures import OperatorError

MIGRATIONS_FOLDER: Final = Path(__file__).resolve().parents[1] / "migrations"
LOCK_TIMEOUT: Final = "1s"
"""How long a change waits for a busy table before it lets those pass who queue behind it, and tries again."""
LOCK_ATTEMPTS_MAX: Final = 60
LOCK_PAUSE_SECONDS: Final = 1.0
"""The pause between two tries, in which everybody who queued gets through."""

VIOLATIONS_SHOWN_MAX: Final = 20
ADVISORY_LOCK: Final = 0x0FFE_4B0B_0001
"""A number of our own among the advisory locks of the database."""

_NAME = re.compile(r"([0-9]{4})_([a-z0-9_]+)", re.ASCII)

_CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version     int PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds     double precision NOT NULL
)
"""

Connection = asyncpg.Connection

_IN_THE_WAY: Final = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)

log = structlog.get_logger("offerhub.migrations")


class MigrationError(OperatorError):
    """The schema cannot be brought up to date; the message names the migration and the reason."""


class ChangedMigrationError(MigrationError):
    """An applied migration differs from its file."""


class MigrationOrderError(MigrationError):
    """The files and the database do not follow one another."""


class DataCheckError(MigrationError):
    """The data contradicts a migration; `violations` holds the offending rows."""

    def __init__(self, migration: str, check: str, violations: Sequence[dict[str, Any]]) -> None:
        self.violations = list(violations)
        shown = "\n".join(f"  {row}" for row in self.violations[:VIOLATIONS_SHOWN_MAX])
        more = len(self.violations) - VIOLATIONS_SHOWN_MAX
        tail = f"\n  and {more} more" if more > 0 else ""
        count = len(self.violations)
        super().__init__(f"{migration}: {check} found {count} violation{'s'[: count != 1]}:\n{shown}{tail}")


@dataclass(frozen=True, slots=True)
class Numbered:
    """A migration, by its place in the order."""

    version: int
    name: str

    @property
    def label(self) -> str:
        """The name of its folder."""
        return f"{self.version:04d}_{self.name}"


@dataclass(frozen=True, slots=True)
class Migration(Numbered):
    """A migration as its files have it."""

    up: str
    before: str | None
    after: str | None

    @property
    def checksum(self) -> str:
        """SHA-256 of up.sql, in hexadecimal."""
        return hashlib.sha256(self.up.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Applied(Numbered):
    """A migration that this run has applied."""

    seconds: float


@dataclass(frozen=True, slots=True)
class MigrationStatus(Numbered):
    """Where a migration stands. `newer`: the database has it and the files do not."""

    state: Literal["applied", "pending", "changed", "newer"]
    applied_at: datetime | None


Observe = Callable[[Connection, Migration], Awaitable[None]]
Fetch = Callable[[str], Awaitable[Sequence[asyncpg.Record]]]
"""The rows of a query."""


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """The migrations of a folder, in order. Raises MigrationOrderError for a bad name or a number used twice."""
    root = folder or MIGRATIONS_FOLDER
    found: dict[int, Migration] = {}
    for path in sorted(path for path in root.iterdir() if (path / "up.sql").exists()):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationOrderError(f"{path.name} is not a name of the form 0001_what_it_does")
        version = int(match[1])
        if version in found:
            raise MigrationOrderError(f"{found[version].label} and {path.name} have the same number")
        found[version] = Migration(
            version, match[2], _text(path / "up.sql"), _optional(path / "before.sql"), _optional(path / "after.sql")
        )
    return list(found.values())


async def migrate(dsn: str, folder: Path | None = None, observe: Observe | None = None) -> list[Applied]:
    """Apply what is pending and return it; waits while another process does the same.

    `observe` is called inside the transaction of each migration, once its change is made and its checks have passed.
    Raises ChangedMigrationError, MigrationOrderError, DataCheckError or MigrationError, and whatever asyncpg
    raises when the database cannot be reached.
    """
    migrations = read_migrations(folder)
    # One connection holds the lock and does the work: should it break, both end together.
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "offerhub migrate"})
    try:
        await connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        await connection.execute(_CREATE_TABLE)
        pending = _pending(migrations, await read_applied(connection.fetch))
        return [await _apply_when_free(connection, migration, observe) for migration in pending]
    finally:
        await connection.close()  # which gives the lock back


async def status(dsn: str, folder: Path | None = None) -> list[MigrationStatus]:
    """Every migration that the files or the database know, in order. Changes nothing."""
    migrations = {migration.version: migration for migration in read_migrations(folder)}
    connection = await asyncpg.connect(dsn)
    try:
        applied = await read_applied(connection.fetch)
    finally:
        await connection.close()
    return [_status(migrations.get(v), applied.get(v)) for v in sorted(migrations.keys() | applied.keys())]


async def read_applied(fetch: Fetch) -> dict[int, asyncpg.Record]:
    """What a database says that was applied to it, by version; nothing where no migration ever was."""
    [exists] = await fetch("SELECT to_regclass('schema_migrations') IS NOT NULL")
    if not exists[0]:
        return {}
    rows = await fetch("SELECT version, name, checksum, applied_at FROM schema_migrations")
    return {row["version"]: row for row in rows}


def _status(migration: Migration | None, row: asyncpg.Record | None) -> MigrationStatus:
    if row is None:
        assert migration is not None
        return MigrationStatus(migration.version, migration.name, "pending", None)
    if migration is None:
        return MigrationStatus(row["version"], row["name"], "newer", row["applied_at"])
    state: Literal["applied", "changed"] = "applied" if migration.checksum == row["checksum"] else "changed"
    return MigrationStatus(migration.version, migration.name, state, row["applied_at"])


def _pending(migrations: Sequence[Migration], applied: dict[int, asyncpg.Record]) -> list[Migration]:
    """What is left to apply, after making sure that it continues what has been applied."""
    for migration in migrations:
        row = applied.get(migration.version)
        if row is not None and row["checksum"] != migration.checksum:
            raise ChangedMigrationError(
                f"{migration.label}: up.sql has been changed since it was applied on {row['applied_at']:%Y-%m-%d}. "
                "Restore it and put the change into a new migration."
            )
    newest_file = max((migration.version for migration in migrations), default=0)
    known = {migration.version for migration in migrations}
    lost = [Numbered(v, applied[v]["name"]).label for v in sorted(applied.keys() - known) if v < newest_file]
    if lost:
        raise MigrationOrderError(f"{', '.join(lost)}: applied to the database, and no longer among the files")
    pending = [migration for migration in migrations if migration.version not in applied]
    newest_applied = max(applied, default=0)
    late = [migration.label for migration in pending if migration.version < newest_applied]
    if late:
        raise MigrationOrderError(
            f"{', '.join(late)}: must come after {newest_applied:04d}, which is applied already"
        )
    return pending


async def _apply_when_free(connection: Connection, migration: Migration, observe: Observe | None) -> Applied:
    """Apply it once nobody is in its way; the tables stay in use meanwhile."""
    for attempt in itertools.count(1):
        try:
            return await _apply(connection, migration, observe)
        except MigrationError as error:
            if attempt == LOCK_ATTEMPTS_MAX or not isinstance(error.__cause__, _IN_THE_WAY):
                raise
            log.info("migration_waits", migration=migration.label, attempt=attempt, reason=str(error.__cause__))
            await asyncio.sleep(jitter(LOCK_PAUSE_SECONDS))
    raise AssertionError("unreachable")


async def _apply(connection: Connection, migration: Migration, observe: Observe | None) -> Applied:
    started = time.perf_counter()
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            transaction_id = await connection.fetchval("SELECT pg_current_xact_id()::text")
            await _check(connection, migration, "before.sql", migration.before)
            await connection.execute(migration.up)
            if await connection.fetchval("SELECT pg_current_xact_id()::text") != transaction_id:
                raise MigrationError(f"{migration.label}: up.sql must not end the transaction it runs in")
            await _check(connection, migration, "after.sql", migration.after)
            if observe is not None:
                await observe(connection, migration)
            seconds = time.perf_counter() - started
            await connection.execute(
                "INSERT INTO schema_migrations (version, name, checksum, seconds) VALUES ($1, $2, $3, $4)",
                migration.version,
                migration.name,
                migration.checksum,
                seconds,
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.label}: {_located(migration, error)}") from error
    return Applied(migration.version, migration.name, seconds)


async def _check(connection: Connection, migration: Migration, check: str, sql: str | None) -> None:
    if sql is None:
        return
    rows = await connection.fetch(sql)
    if rows:
        raise DataCheckError(migration.label, check, [dict(row) for row in rows])


def _located(migration: Migration, error: asyncpg.PostgresError) -> str:
    """The database's message, with the line of up.sql that it speaks of when that is known."""
    position: str | None = getattr(error, "position", None)
    query: str | None = getattr(error, "query", None)
    if position is None or (query is not None and query != migration.up):
        return str(error)
    line = migration.up.count("\n", 0, int(position) - 1) + 1
    return f"{error} (up.sql, line {line})"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _optional(path: Path) -> str | None:
    return _text(path) if path.exists() else None

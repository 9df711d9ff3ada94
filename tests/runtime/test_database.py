"""Transactions: whole or not at all, again when the database asks for it, and never left open."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from offerhub.runtime.database import RETRY_ATTEMPTS_MAX, Database, Tx
from support.outside import PATIENCE_SECONDS


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_size=4)
    await opened.script("CREATE TABLE IF NOT EXISTS notes (id integer PRIMARY KEY, n integer NOT NULL)")
    await opened.script("TRUNCATE notes; INSERT INTO notes VALUES (1, 0), (2, 0)")
    yield opened
    await opened.close()


async def note(database: Database, note_id: int) -> int:
    return int(await database.run(lambda tx: tx.value("SELECT n FROM notes WHERE id = $1", note_id)))


async def test_a_deadlock_is_resolved_and_both_transactions_happen(database: Database) -> None:
    meeting = asyncio.Barrier(2)
    runs: list[int] = []

    async def both(tx: Tx, first: int, second: int) -> None:
        runs.append(first)
        await tx.execute("UPDATE notes SET n = n + 1 WHERE id = $1", first)
        if len(runs) <= 2:
            await meeting.wait()
        await tx.execute("UPDATE notes SET n = n + 1 WHERE id = $1", second)

    await asyncio.gather(
        database.run(lambda tx: both(tx, 1, 2)),
        database.run(lambda tx: both(tx, 2, 1)),
    )
    assert len(runs) == 3, "one of the two was run again"
    assert (await note(database, 1), await note(database, 2)) == (2, 2)


async def test_a_serialization_failure_is_retried_and_then_told(database: Database) -> None:
    runs: list[None] = []

    async def fails(tx: Tx) -> None:
        runs.append(None)
        await tx.execute("UPDATE notes SET n = n + 1 WHERE id = 1")
        await tx.execute("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$")

    with pytest.raises(asyncpg.SerializationError):
        await database.run(fails)
    assert len(runs) == RETRY_ATTEMPTS_MAX
    assert await note(database, 1) == 0


async def test_an_error_leaves_nothing_and_the_connection_is_as_new(database: Database) -> None:
    async def fails(tx: Tx) -> None:
        await tx.execute("UPDATE notes SET n = 7 WHERE id = 1")
        raise RuntimeError("stop")

    for _ in range(20):
        with pytest.raises(RuntimeError):
            await database.run(fails)
    assert await note(database, 1) == 0


async def test_a_cancelled_use_case_leaves_no_open_transaction(database: Database) -> None:
    started = asyncio.Event()

    async def sleeps(tx: Tx) -> None:
        await tx.execute("UPDATE notes SET n = 7 WHERE id = 1")
        started.set()
        # Not longer: a cancellation that reaches PostgreSQL before the statement does is lost, and waited out.
        await tx.execute("SELECT pg_sleep(5)")

    for _ in range(6):  # more often than the pool has connections
        started.clear()
        task = asyncio.create_task(database.run(sleeps))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(PATIENCE_SECONDS):
        await database.run(lambda tx: tx.execute("UPDATE notes SET n = n + 1 WHERE id = 1"))
    assert await note(database, 1) == 1


async def test_reading_use_cases_cannot_write(database: Database) -> None:
    """Neither in one statement, nor on a snapshot, where PostgreSQL itself refuses."""
    for sql in ("UPDATE notes SET n = 1", "WITH x AS (DELETE FROM notes RETURNING n) SELECT n FROM x"):
        with pytest.raises(ValueError, match="may not change anything"):
            await database.run(lambda tx, sql=sql: tx.rows(sql), read_only=True)
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await database.snapshot(lambda tx, sql=sql: tx.rows(sql))
    assert await note(database, 1) == 0


async def test_a_snapshot_does_not_see_what_comes_later(database: Database) -> None:
    async def look_twice(tx: Tx) -> tuple[int, int]:
        before = await tx.value("SELECT n FROM notes WHERE id = 1")
        await database.run(lambda other: other.execute("UPDATE notes SET n = n + 1 WHERE id = 1"))
        return before, await tx.value("SELECT n FROM notes WHERE id = 1")

    assert await database.snapshot(look_twice) == (0, 0)
    assert await note(database, 1) == 1


async def test_the_hook_sees_every_statement_with_begin_and_commit(database: Database) -> None:
    seen: list[str] = []

    class Recording:
        def before(self, sql: str) -> None:
            seen.append(f"> {sql}")

        def after(self, sql: str) -> None:
            seen.append(f"< {sql}")

    database.hook = Recording()
    await database.run(lambda tx: tx.execute("UPDATE notes SET n = 1"))
    assert seen == [
        "> BEGIN",
        "< BEGIN",
        "> UPDATE notes SET n = 1",
        "< UPDATE notes SET n = 1",
        "> COMMIT",
        "< COMMIT",
    ]


async def test_a_statement_that_a_newer_schema_has_outdated_runs_again(database: Database) -> None:
    """A newer program's migration may change what a prepared statement returns, or the types that it knows."""
    runs: list[None] = []

    async def read(tx: Tx) -> dict[str, object]:
        runs.append(None)
        return dict(await tx.one("SELECT * FROM notes WHERE id = 1"))

    for _ in range(3):
        assert await database.run(read) == {"id": 1, "n": 0}
    await database.script("ALTER TABLE notes ADD COLUMN remark text DEFAULT 'new'")
    try:
        assert await database.run(read) == {"id": 1, "n": 0, "remark": "new"}
        assert len(runs) == 5, "once more, in a new transaction"
    finally:
        await database.script("ALTER TABLE notes DROP COLUMN remark")

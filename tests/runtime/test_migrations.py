"""The migration runner, on a real database."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from offerhub.runtime import migrations
from offerhub.runtime.migrations import (
    Applied,
    ChangedMigrationError,
    DataCheckError,
    MigrationError,
    MigrationOrderError,
    migrate,
    status,
)


def write(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir()
    for file, sql in files.items():
        (folder / name / f"{file}.sql").write_text(sql)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "0001_coins", up="CREATE TABLE coins (value int); INSERT INTO coins VALUES (1), (2);")
    return tmp_path


async def value(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def states(url: str, folder: Path) -> list[tuple[str, str]]:
    return [(one.name, one.state) for one in await status(url, folder)]


async def test_pending_migrations_are_applied_in_order_and_once(empty_database_url: str, folder: Path) -> None:
    write(folder, "0002_more", up="INSERT INTO coins SELECT 10 * value FROM coins;")
    assert await states(empty_database_url, folder) == [("coins", "pending"), ("more", "pending")]
    assert [one.version for one in await migrate(empty_database_url, folder)] == [1, 2]
    assert await migrate(empty_database_url, folder) == []
    assert await value(empty_database_url, "SELECT sum(value) FROM coins") == 33
    assert await states(empty_database_url, folder) == [("coins", "applied"), ("more", "applied")]


async def test_replicas_that_start_at_once_apply_each_migration_once(empty_database_url: str, folder: Path) -> None:
    write(folder, "0002_slow", up="SELECT pg_sleep(0.2); INSERT INTO coins VALUES (3);")
    runs = await asyncio.gather(*(migrate(empty_database_url, folder) for _ in range(4)))
    assert sorted(len(run) for run in runs) == [0, 0, 0, 2]
    assert await value(empty_database_url, "SELECT count(*) FROM coins") == 3


async def test_an_applied_file_that_was_changed_is_refused_by_name(empty_database_url: str, folder: Path) -> None:
    await migrate(empty_database_url, folder)
    (folder / "0001_coins/up.sql").write_text("CREATE TABLE coins (value bigint);")
    write(folder, "0002_more", up="INSERT INTO coins VALUES (3);")
    with pytest.raises(ChangedMigrationError, match="0001_coins"):
        await migrate(empty_database_url, folder)
    assert await value(empty_database_url, "SELECT count(*) FROM coins") == 2
    assert await states(empty_database_url, folder) == [("coins", "changed"), ("more", "pending")]


async def test_a_failing_after_check_rolls_back_and_shows_the_rows(empty_database_url: str, folder: Path) -> None:
    write(
        folder,
        "0002_spend",
        up="UPDATE coins SET value = value - 2",
        after="SELECT value, 'overspent' AS why FROM coins WHERE value < 0",
    )
    with pytest.raises(DataCheckError, match=r"0002_spend: after\.sql found 1 violation:\n.*'value': -1") as caught:
        await migrate(empty_database_url, folder)
    assert caught.value.violations == [{"value": -1, "why": "overspent"}]
    assert await value(empty_database_url, "SELECT min(value) FROM coins") == 1
    assert await states(empty_database_url, folder) == [("coins", "applied"), ("spend", "pending")]


async def test_a_failing_before_check_keeps_the_change_from_being_tried(
    empty_database_url: str, folder: Path
) -> None:
    write(folder, "0002_wipe", before="SELECT value FROM coins ORDER BY value", up="TRUNCATE coins")
    with pytest.raises(DataCheckError, match=r"before\.sql found 2 violations"):
        await migrate(empty_database_url, folder)
    assert await value(empty_database_url, "SELECT count(*) FROM coins") == 2


async def test_checks_that_find_nothing_let_the_change_pass(empty_database_url: str, folder: Path) -> None:
    write(folder, "0002_wipe", before="SELECT 1 WHERE false", up="TRUNCATE coins", after="SELECT value FROM coins")
    assert len(await migrate(empty_database_url, folder)) == 2


async def test_a_faulty_statement_is_named_with_its_line_and_leaves_nothing(
    empty_database_url: str, folder: Path
) -> None:
    write(folder, "0002_typo", up="INSERT INTO coins VALUES (3);\n\nINSERT INTO coinz VALUES (4);\n")
    with pytest.raises(MigrationError, match=r"0002_typo: .*coinz.*line 3"):
        await migrate(empty_database_url, folder)
    assert await value(empty_database_url, "SELECT count(*) FROM coins") == 2


async def test_a_migration_may_not_end_its_transaction(empty_database_url: str, folder: Path) -> None:
    write(folder, "0002_commit", up="COMMIT; BEGIN; INSERT INTO coins VALUES (3);")
    with pytest.raises(MigrationError, match=r"0002_commit: up\.sql must not end the transaction"):
        await migrate(empty_database_url, folder)


async def test_a_busy_table_fails_the_migration_instead_of_queueing_everybody(
    empty_database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty_database_url, folder)
    write(folder, "0002_column", up="ALTER TABLE coins ADD COLUMN name text")
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migrations, "LOCK_ATTEMPTS_MAX", 2)
    monkeypatch.setattr(migrations, "LOCK_PAUSE_SECONDS", 0.01)
    connection = await asyncpg.connect(empty_database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE coins")
            with pytest.raises(MigrationError, match=r"0002_column: .*lock timeout"):
                await migrate(empty_database_url, folder)
    finally:
        await connection.close()


async def test_a_change_waits_for_a_busy_table_without_holding_up_those_behind_it(
    empty_database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction keeps the change from its table. Others get through between its tries, again and again."""
    await migrate(empty_database_url, folder)
    write(folder, "0002_column", up="ALTER TABLE coins ADD COLUMN name text")
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "20ms")
    monkeypatch.setattr(migrations, "LOCK_PAUSE_SECONDS", 0.01)
    waits: list[object] = []
    monkeypatch.setattr(migrations.log, "info", lambda event, **facts: waits.append((event, facts["attempt"])))
    long, others = await asyncpg.connect(empty_database_url), await asyncpg.connect(empty_database_url)
    try:
        reading = long.transaction()
        await reading.start()
        await long.execute("SELECT FROM coins")
        changing = asyncio.create_task(migrate(empty_database_url, folder))
        passed = 0
        while len(waits) < 3:
            await others.execute("INSERT INTO coins VALUES (5)")
            passed += 1
        assert passed >= 2
        assert not changing.done()
        await reading.rollback()
        assert [one.version for one in await changing] == [2]
        assert waits[:3] == [("migration_waits", attempt) for attempt in (1, 2, 3)]
        assert await value(empty_database_url, "SELECT count(*) FROM coins WHERE name IS NULL") == passed + 2
    finally:
        await asyncio.gather(long.close(), others.close())


async def test_a_newer_database_is_accepted_and_reported(empty_database_url: str, folder: Path) -> None:
    write(folder, "0002_next", up="CREATE TABLE next ()")
    await migrate(empty_database_url, folder)
    (folder / "0002_next/up.sql").unlink()
    assert await migrate(empty_database_url, folder) == []
    assert await states(empty_database_url, folder) == [("coins", "applied"), ("next", "newer")]


async def test_files_that_do_not_continue_the_database_are_refused(empty_database_url: str, folder: Path) -> None:
    write(folder, "0003_three", up="CREATE TABLE three ()")
    await migrate(empty_database_url, folder)
    write(folder, "0002_two", up="CREATE TABLE two ()")
    with pytest.raises(MigrationOrderError, match="0002_two: must come after 0003"):
        await migrate(empty_database_url, folder)
    (folder / "0002_two/up.sql").unlink()
    (folder / "0001_coins/up.sql").unlink()
    with pytest.raises(MigrationOrderError, match="0001_coins: applied"):
        await migrate(empty_database_url, folder)


@pytest.mark.parametrize("name", ["0001_again", "2_short", "0002-dash"])
async def test_bad_names_are_refused_before_the_database_is_asked(folder: Path, name: str) -> None:
    write(folder, name, up="SELECT 1")
    with pytest.raises(MigrationOrderError, match=name):
        await migrate("postgresql://nobody@127.0.0.1:1/none", folder)


async def test_our_own_migrations_build_the_schema_from_nothing(empty_database_url: str) -> None:
    done = await migrate(empty_database_url)
    assert all(isinstance(one, Applied) for one in done)
    assert [one.version for one in done] == list(range(1, len(done) + 1))
    assert {one.state for one in await status(empty_database_url)} == {"applied"}

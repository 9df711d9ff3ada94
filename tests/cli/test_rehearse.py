"""`offerhub migrate rehearse`: the pending migrations on a clone of real data, and nothing on the original."""

import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from offerhub.cli.environment import CommandError
from offerhub.cli.rehearse import rehearse_on_clone
from offerhub.runtime import migrations
from offerhub.runtime.migrations import MIGRATIONS_FOLDER, MigrationError, read_migrations
from offerhub.settings import Settings, load
from support.command import offerhub


def settings(url: str) -> Settings:
    return load({"OFFERHUB_MASTER_KEY": "x", "DATABASE_URL": url, "REDIS_URL": "redis://h"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migrations, and one more that no database has yet; what the program takes for its own."""
    copy = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS_FOLDER, copy)
    more = copy / f"{read_migrations()[-1].version + 1:04d}_rehearsed"
    more.mkdir()
    (more / "up.sql").write_text(
        "CREATE TABLE rehearsed (id int);\nALTER TABLE marketplaces ADD COLUMN rehearsed int;\n"
        "CREATE INDEX users_rehearsed ON users (external_user_id);\n"
    )
    monkeypatch.setattr(migrations, "MIGRATIONS_FOLDER", copy)
    return more


async def databases(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    found = {row[0] for row in await connection.fetch("SELECT datname FROM pg_database")}
    await connection.close()
    return {name for name in found if name.startswith("offerhub_rehearsal_")}


@pytest.mark.usefixtures("folder")
async def test_what_it_would_lock_is_seen_on_a_clone(fresh_database_url: str) -> None:
    found = await rehearse_on_clone(settings(fresh_database_url))
    (applied,) = found.applied
    assert applied.name == "rehearsed"
    assert found.locks[applied.version] == [("marketplaces", "AccessExclusiveLock"), ("users", "ShareLock")]
    assert found.proof is not None
    assert found.proof.holds
    assert [one.state for one in await migrations.status(fresh_database_url)][-1] == "pending"
    assert await databases(fresh_database_url) == set()


async def test_a_migration_that_fails_fails_on_the_clone_alone(fresh_database_url: str, folder: Path) -> None:
    (folder / "up.sql").write_text("CREATE TABLE users (id int);\n")
    with pytest.raises(MigrationError, match="already exists"):
        await rehearse_on_clone(settings(fresh_database_url))
    assert [one.state for one in await migrations.status(fresh_database_url)][-1] == "pending"
    assert await databases(fresh_database_url) == set()


@pytest.mark.usefixtures("folder")
async def test_without_the_right_to_create_databases_it_says_what_to_do(fresh_database_url: str) -> None:
    connection = await asyncpg.connect(fresh_database_url)
    role = f"shop_{urlsplit(fresh_database_url).path[-8:]}"
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT SELECT ON schema_migrations TO {role}")
    parts = urlsplit(fresh_database_url)
    url = urlunsplit(parts._replace(netloc=f"{role}:pw@{parts.netloc.rpartition('@')[2]}"))
    with pytest.raises(CommandError, match="name an empty one with --clone"):
        await rehearse_on_clone(settings(url))
    await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await connection.close()


async def test_a_schema_that_is_up_to_date_has_nothing_to_rehearse(
    tmp_path: Path, fresh_database_url: str, redis_url: str
) -> None:
    variables = {"DATABASE_URL": fresh_database_url, "REDIS_URL": redis_url}
    code, printed = await offerhub(tmp_path, "migrate", "rehearse", "--json", **variables)
    assert (code, json.loads(printed)) == (0, {"cloneSeconds": 0.0, "migrations": [], "proven": None})

"""WAL archiving with the settings of docs/operating/backup.md: what was committed since the base comes back."""

import re
import shutil
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from offerhub.operations.store import backup_state
from offerhub.runtime.database import Database
from offerhub.runtime.embedded.servers import DATABASE_USER
from offerhub.runtime.migrations import migrate
from support.outside import eventually
from support.own_postgres import OwnPostgres

PAGE: Final = Path(__file__).parents[2] / "docs" / "operating" / "backup.md"
ARCHIVED: Final = "SELECT last_archived_wal >= $1 FROM pg_stat_archiver"

pytestmark = pytest.mark.long


def settings(archive: Path) -> dict[str, str]:
    """The settings of the page's blocks, for this archive; not the moment to stop at."""
    section = PAGE.read_text(encoding="utf-8").partition("## WAL archiving")[2].partition("\n## ")[0]
    found = dict(re.findall(r"^(\w+) = '?(.*?)'?(?:\s+#.*)?$", section, re.MULTILINE))
    assert {"archive_command", "restore_command", "archive_mode", "recovery_target_time"} <= set(found)
    return {name: text.replace("/archive", str(archive)) for name, text in found.items()}


async def test_what_was_archived_comes_back(data_dir: Path) -> None:
    first, second = OwnPostgres(data_dir / "first"), OwnPostgres(data_dir / "second")
    account, archive = first._place.account, data_dir / "archive"
    archive.mkdir()
    account.owns(archive)
    told = settings(archive)
    try:
        await first.start()
        administrator = await asyncpg.connect(first.url)
        for name in ("wal_level", "archive_mode", "archive_timeout", "archive_command"):
            value = told[name].replace("'", "''")
            await administrator.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        await administrator.close()
        await first.stop("fast")
        await first.start()
        await migrate(first.url)
        database = await Database.connect(first.url, pool_size=1)

        async def told_of() -> tuple[float | None, bool | None]:
            return await database.run(backup_state, read_only=True)

        shop = await asyncpg.connect(first.url)
        await shop.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
        base = data_dir / "base"
        base.mkdir()
        account.owns(base)
        password = first._place.folder / "postgres" / "password"
        source = f"host=127.0.0.1 port={first.port} user={DATABASE_USER}"
        options = ("-D", str(base), "-d", source, "-X", "none", "-c", "fast")
        await first._run("pg_basebackup", *options, PGPASSWORD=password.read_text().strip())
        await shop.execute("INSERT INTO kept VALUES (2)")
        segment = await shop.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
        await eventually(lambda: shop.fetchval(ARCHIVED, segment), bool)
        assert await told_of() == (None, False), "no file is missed where the log is archived"
        archive.rename(away := data_dir / "away")
        await shop.execute("INSERT INTO kept VALUES (2)")
        await shop.execute("SELECT pg_switch_wal()")
        await eventually(told_of, lambda told: told[1] is True)
        away.rename(archive)
        await eventually(told_of, lambda told: told[1] is False)
        await database.close()
        await shop.execute("INSERT INTO kept VALUES (3)")  # in a piece that is not away yet
        await shop.close()
        await first.stop("kill")

        folder = second._place.private_folder("postgres")
        shutil.copy(password, folder / "password")
        base.rename(folder / "cluster")
        with (folder / "cluster" / "postgresql.auto.conf").open("a") as file:
            file.write(f"restore_command = '{told['restore_command']}'\n")
        (folder / "cluster" / "recovery.signal").touch()
        for path in (folder / "password", folder / "cluster", folder / "cluster" / "recovery.signal"):
            second._place.account.owns(path)
        (folder / "cluster").chmod(0o700)
        await second.start()
        again = await asyncpg.connect(second.url)
        assert [row["n"] for row in await again.fetch("SELECT n FROM kept ORDER BY n")] == [1, 2, 2]
        await eventually(lambda: again.fetchval("SELECT NOT pg_is_in_recovery()"), bool)
        await again.execute("INSERT INTO kept VALUES (4)")
        await again.close()
    finally:
        await first.close()
        await second.close()

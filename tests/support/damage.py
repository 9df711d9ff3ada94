"""What nobody but a superuser can do: change rows with every guard out of the way."""

from typing import Any

from offerhub.runtime.database import Database, Tx

WITHOUT_GUARDS = "SET LOCAL session_replication_role = replica"


async def damage(database: Database, sql: str, *args: Any) -> None:
    """Run a statement, past triggers and foreign keys."""

    async def run(tx: Tx) -> None:
        await tx.execute(WITHOUT_GUARDS)
        await tx.execute(sql, *args)

    await database.run(run)

"""The proof of the books by the clock: what was tampered with is a finding, until it holds again."""

import asyncpg

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.operations.proof import prove
from offerhub.reconciliation.jobs import Violations, books_job
from offerhub.runtime.database import Database

WORLD = """
INSERT INTO ledger.accounts (id, marketplace_id, owner, kind, asset, floored, balance)
OVERRIDING SYSTEM VALUE VALUES (-1, $1, 'usr_tampered', 'available', 'USD', true, 5)
"""


async def test_tampered_books_are_a_finding_until_they_hold_again(fresh_database_url: str) -> None:
    database = await Database.connect(fresh_database_url)
    connection = await asyncpg.connect(fresh_database_url)

    async def violations() -> Violations:
        return {f"{one.check.invariant}: {one.check.sentence}": one.rows for one in (await prove(database)).findings}

    async def findings() -> list[tuple[str, str]]:
        rows = await connection.fetch("SELECT subject_id, status FROM findings ORDER BY id")
        return [(row["subject_id"][:2], row["status"]) for row in rows]

    job = books_job(database, violations)
    try:
        assert (await job.work()).discrepancies == 0
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(WORLD, DEFAULT_MARKETPLACE_ID)
        assert (await job.work()).discrepancies == 1
        assert (await job.work()).discrepancies == 0, "known"
        assert await findings() == [("I2", "OPEN")]
        evidence = await connection.fetchval("SELECT evidence::text FROM findings")
        assert "usr_tampered" in evidence
        await connection.execute("DELETE FROM ledger.accounts WHERE id = -1")
        await job.work()
        assert await findings() == [("I2", "RESOLVED")]
    finally:
        await connection.close()
        await database.close()

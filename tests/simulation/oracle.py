"""What must hold: at every look while things go wrong, and all of it once they have come to rest."""

from collections.abc import Mapping
from typing import Any, Final

from offerhub.operations.proof import prove
from offerhub.runtime.database import Database, Tx
from simulation.client import Memory
from simulation.outside import Outside
from support.conservation import compare


class Violation(Exception):
    """Something that must hold does not."""


UNDER_WAY: Final[Mapping[str, str]] = {
    "sagas": "SELECT kind, subject_id FROM sagas WHERE status = 'RUNNING'",
    "jobs of the outbox": "SELECT id, queue, name FROM outbox",
    "envelopes": "SELECT hash FROM envelopes WHERE status IN ('SIGNED', 'SUBMITTED')",
    "wallets": "SELECT public_key FROM wallets WHERE status <> 'READY'",
    "top-ups": """
        SELECT id, status FROM topups
        WHERE status NOT IN ('TOPUP_SUCCEEDED', 'TOPUP_FAILED', 'TOPUP_CANCELED')
    """,
    "withdrawals": """
        SELECT id, status FROM withdrawals
        WHERE status NOT IN ('WITHDRAWAL_COMPLETED', 'WITHDRAWAL_FAILED', 'WITHDRAWAL_CANCELED')
    """,
    "orders": """
        SELECT id, status FROM orders WHERE status NOT IN
            ('ORDER_CREATED', 'FUNDS_RESERVED', 'ESCROW_FUNDING', 'IN_PROGRESS', 'DISPUTED', 'CLOSED')
    """,
    "escrows": "SELECT id, status FROM escrows WHERE status IN ('CREATING', 'FUNDING', 'RELEASING', 'REFUNDING')",
    "milestones": "SELECT escrow_id, position FROM escrow_milestones WHERE status = 'PAYING'",
    "webhooks in": "SELECT provider, event_id FROM webhook_events WHERE status = 'RECEIVED'",
    "webhooks out": """
        SELECT id FROM webhook_deliveries
        WHERE status = 'PENDING' AND due_at <= clock_timestamp() - make_interval(secs => 20)
    """,
    "events without a place": """
        SELECT id FROM events e WHERE NOT EXISTS (SELECT FROM event_log l WHERE l.event = e.position)
    """,
    "audit entries without a link": """
        SELECT id FROM audit_entries e WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.entry_id = e.id)
    """,
}
"""What has not come to rest, each as the query that finds it; in the end none finds anything."""


async def held(database: Database) -> None:
    """The books and states hold, whatever is under way. Raises Violation."""
    proof = await prove(database)
    if not proof.holds:
        raise Violation(f"the proof does not hold: {proof.wire()['findings']}")


async def restless(database: Database) -> list[str]:
    """What is still under way."""

    async def look(tx: Tx) -> list[str]:
        found = []
        for name, sql in UNDER_WAY.items():
            rows = await tx.rows(f"SELECT * FROM ({sql}) one LIMIT 3")
            found += [f"{name}: {dict(row)}" for row in rows]
        return found

    return await database.run(look, read_only=True)


async def differences(database: Database, outside: Outside) -> list[str]:
    """What the books and the world do not agree about."""
    return (await compare(database, outside.control)).differences


UNTOLD: Final[Mapping[str, str]] = {
    "users": "SELECT id FROM users",
    "orders": "SELECT id FROM orders",
    "topups": "SELECT id FROM topups WHERE status NOT IN ('TOPUP_FAILED', 'TOPUP_CANCELED')",
    "withdrawals": "SELECT id FROM withdrawals WHERE status NOT IN ('WITHDRAWAL_FAILED', 'WITHDRAWAL_CANCELED')",
}
"""What only a request that was answered with it can have made: every request was answered in the end."""


async def remembered(database: Database, memory: Memory) -> None:
    """What clients were told is so, and nothing is there that nobody was told of. Raises Violation."""
    ended: dict[str, tuple[str, str]] = {
        "order": ("orders", "final_status"),
        "topup": ("topups", "status"),
        "withdrawal": ("withdrawals", "status"),
    }

    async def look(tx: Tx) -> list[str]:
        missing = []
        for table, found in memory.kept:
            if await tx.value(f"SELECT count(*) FROM {table} WHERE id = $1", found) != 1:
                missing.append(f"{table} {found} was acknowledged and is not there")
        for (kind, found), state in memory.ended.items():
            table, column = ended[kind]
            now: Any = await tx.value(f"SELECT {column} FROM {table} WHERE id = $1", found)
            if now != state:
                missing.append(f"{kind} {found} had ended as {state} and is {now}")
        told = set(memory.kept)
        for table, sql in UNTOLD.items():
            strange = [row["id"] for row in await tx.rows(sql) if (table, row["id"]) not in told]
            missing += [f"{table} {found} is there, and nobody was told of it" for found in strange]
        return missing

    missing = await database.run(look, read_only=True)
    if missing:
        raise Violation("; ".join(missing))

"""All SQL of the treasury."""

from datetime import datetime

from offerhub.runtime.database import Tx
from offerhub.treasury.model import Books, UnderWay


async def books(tx: Tx) -> Books:
    """What the books of all marketplaces say: there is one treasury and one account at Airtm for all of them."""
    row = await tx.one(
        """
        SELECT coalesce(-sum(p.amount) FILTER (WHERE a.kind = 'world:treasury'), 0)::bigint AS treasury,
            coalesce(-sum(p.amount) FILTER (WHERE a.kind = 'world:airtm'), 0)::bigint AS airtm,
            coalesce(sum(p.amount) FILTER (WHERE a.kind = 'capital:treasury'), 0)::bigint AS capital
        FROM ledger.accounts a JOIN ledger.postings p ON p.account_id = a.id
        WHERE a.kind IN ('world:treasury', 'world:airtm', 'capital:treasury')
        """
    )
    return Books(row["treasury"], row["airtm"], row["capital"])


async def under_way(tx: Tx) -> UnderWay:
    """The most that may have moved outside without being booked: what sagas carry, and what Airtm has not ended."""
    row = await tx.one(
        """
        SELECT
            (SELECT coalesce(sum(o.amount), 0)::bigint FROM orders o WHERE o.id IN (
                SELECT g.subject_id FROM sagas g WHERE g.status = 'RUNNING'
                UNION
                SELECT e.order_id FROM sagas g JOIN escrow_milestones m ON m.milestone_id = g.subject_id
                JOIN escrows e ON e.id = m.escrow_id WHERE g.status = 'RUNNING'))
            + (SELECT coalesce(sum(w.amount), 0)::bigint FROM sagas g JOIN withdrawals w ON w.id = g.subject_id
                WHERE g.status = 'RUNNING' AND w.destination_type = 'crypto') AS on_chain,
            (SELECT coalesce(sum(amount), 0)::bigint FROM topups
                WHERE status NOT IN ('TOPUP_SUCCEEDED', 'TOPUP_FAILED', 'TOPUP_CANCELED')) AS topups,
            (SELECT coalesce(sum(amount), 0)::bigint FROM withdrawals WHERE destination_type <> 'crypto'
                AND status NOT IN ('WITHDRAWAL_COMPLETED', 'WITHDRAWAL_FAILED', 'WITHDRAWAL_CANCELED')) AS payouts
        """
    )
    return UnderWay(row["on_chain"], row["topups"], row["payouts"])


async def put_aside(tx: Tx, address: str) -> int:
    """Units that came to an address and could not be booked."""
    units: int = await tx.value(
        """
        SELECT coalesce(sum((record ->> 'amount')::bigint), 0)::bigint FROM quarantined_records
        WHERE source = 'deposits' AND split_part(record_id, ':', 2) = $1 AND record ->> 'amount' ~ '^[0-9]{1,18}$'
        """,
        address,
    )
    return units


async def lock_capital(tx: Tx) -> None:
    """Let one movement of capital be decided at a time; its accounts keep no balance that a row lock could guard."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('offerhub treasury capital', 0))")


async def posted_at(tx: Tx, marketplace_id: str, business_key: str) -> datetime:
    """When an entry was posted; there must be one."""
    moment: datetime = await tx.value(
        "SELECT posted_at FROM ledger.transactions WHERE marketplace_id = $1 AND business_key = $2",
        marketplace_id,
        business_key,
    )
    return moment


async def is_posted(tx: Tx, marketplace_id: str, business_key: str) -> bool:
    """True when this key has been posted before."""
    found: bool = await tx.value(
        "SELECT EXISTS (SELECT FROM ledger.transactions WHERE marketplace_id = $1 AND business_key = $2)",
        marketplace_id,
        business_key,
    )
    return found

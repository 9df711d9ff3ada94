"""All SQL of the treasury."""

from datetime import datetime

from offerhub.runtime.database import Tx
from offerhub.treasury.model import Books


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

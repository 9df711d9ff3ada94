"""All SQL of withdrawals."""

from collections.abc import Sequence
from typing import Final

from offerhub.kernel.ids import new_id
from offerhub.kernel.money import Units
from offerhub.kernel.pages import Page
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.paging import PageQuery, fetch
from offerhub.withdrawals.model import Withdrawal

_COLUMNS: Final = """id, marketplace_id, user_id, amount, fee, currency, status, destination_type, destination_ref,
    memo, description, committed, transaction_hash, failure_reason, created_at, updated_at"""


def _withdrawal(row: Row) -> Withdrawal:
    return Withdrawal(
        row["id"],
        row["marketplace_id"],
        row["user_id"],
        Units(row["amount"]),
        Units(row["fee"]),
        row["currency"],
        row["status"],
        row["destination_type"],
        row["destination_ref"],
        row["memo"],
        row["description"],
        row["committed"],
        row["transaction_hash"],
        row["failure_reason"],
        row["created_at"],
        row["updated_at"],
    )


async def insert_crypto(
    tx: Tx,
    marketplace_id: str,
    user_id: str,
    amount: int,
    currency: str,
    destination: str,
    memo: str | None,
    description: str | None,
) -> Withdrawal:
    """A new withdrawal to a Stellar address; it is on its way from the start."""
    row = await tx.one(
        f"""
        INSERT INTO withdrawals (id, marketplace_id, user_id, amount, currency, status, destination_type,
            destination_ref, memo, description, committed)
        VALUES ($1, $2, $3, $4, $5, 'WITHDRAWAL_PENDING', 'crypto', $6, $7, $8, true) RETURNING {_COLUMNS}
        """,
        new_id("wd"),
        marketplace_id,
        user_id,
        amount,
        currency,
        destination,
        memo,
        description,
    )
    return _withdrawal(row)


async def get(tx: Tx, marketplace_id: str, withdrawal_id: str) -> Withdrawal | None:
    """The withdrawal, within its marketplace."""
    row = await tx.row(
        f"SELECT {_COLUMNS} FROM withdrawals WHERE marketplace_id = $1 AND id = $2",
        marketplace_id,
        withdrawal_id,
    )
    return None if row is None else _withdrawal(row)


async def end(
    tx: Tx,
    withdrawal_id: str,
    to: str,
    sources: Sequence[str],
    *,
    transaction_hash: str | None = None,
    failure_reason: str | None = None,
) -> Withdrawal | None:
    """Move a withdrawal to its end; None when it is in none of the sources."""
    row = await tx.row(
        f"""
        UPDATE withdrawals SET status = $2, transaction_hash = $4, failure_reason = $5
        WHERE id = $1 AND status = ANY($3::text[]) RETURNING {_COLUMNS}
        """,
        withdrawal_id,
        to,
        list(sources),
        transaction_hash,
        failure_reason,
    )
    return None if row is None else _withdrawal(row)


async def page(tx: Tx, marketplace_id: str, user_id: str | None, status: str | None, query: PageQuery) -> Page:
    """One page of withdrawals, ready for the wire."""
    select = f"SELECT {_COLUMNS} FROM withdrawals"
    filters = {"user_id": user_id, "status": status}
    found = await fetch(tx, marketplace_id, select, "withdrawals", filters, query)
    return Page([_withdrawal(row).wire() for row in found.items], found.next_cursor)

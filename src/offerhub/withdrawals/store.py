"""All SQL of withdrawals."""

from typing import Final

from offerhub.kernel.ids import new_id
from offerhub.kernel.money import Units
from offerhub.kernel.pages import Page
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.paging import PageQuery, fetch
from offerhub.withdrawals.model import Withdrawal
from offerhub.withdrawals.states import WITHDRAWAL

_COLUMNS: Final = """id, marketplace_id, user_id, amount, fee, currency, status, destination_type, destination_ref,
    memo, description, committed, airtm_payout_id, transaction_hash, failure_reason, created_at, updated_at"""


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
        row["airtm_payout_id"],
        row["transaction_hash"],
        row["failure_reason"],
        row["created_at"],
        row["updated_at"],
    )


async def insert(
    tx: Tx,
    marketplace_id: str,
    user_id: str,
    amount: int,
    currency: str,
    *,
    status: str,
    destination_type: str,
    destination: str,
    memo: str | None,
    description: str | None,
) -> Withdrawal:
    """A new withdrawal; one to a Stellar address is on its way from the start, others wait to be committed."""
    row = await tx.one(
        f"""
        INSERT INTO withdrawals (id, marketplace_id, user_id, amount, currency, status, destination_type,
            destination_ref, memo, description, committed)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $7 = 'crypto') RETURNING {_COLUMNS}
        """,
        new_id("wd"),
        marketplace_id,
        user_id,
        amount,
        currency,
        status,
        destination_type,
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


async def find(tx: Tx, withdrawal_id: str) -> Withdrawal | None:
    """The withdrawal of whichever marketplace."""
    row = await tx.row(f"SELECT {_COLUMNS} FROM withdrawals WHERE id = $1", withdrawal_id)
    return None if row is None else _withdrawal(row)


async def lock(tx: Tx, withdrawal_id: str) -> Withdrawal:
    """A withdrawal that there is, locked until the transaction ends."""
    return _withdrawal(await tx.one(f"SELECT {_COLUMNS} FROM withdrawals WHERE id = $1 FOR UPDATE", withdrawal_id))


async def move(
    tx: Tx,
    withdrawal_id: str,
    to: str,
    *,
    committed: bool = False,
    transaction_hash: str | None = None,
    failure_reason: str | None = None,
    fee: int | None = None,
) -> Withdrawal:
    """Move a withdrawal on. What is None stays as it is, but for the reason of an earlier failure, which goes."""
    row = await tx.one(
        f"""
        UPDATE withdrawals SET status = $2, committed = committed OR $4, failure_reason = $6,
            transaction_hash = coalesce($5, transaction_hash), fee = coalesce($7, fee)
        WHERE id = $1 AND status = ANY($3::text[]) RETURNING {_COLUMNS}
        """,
        withdrawal_id,
        to,
        WITHDRAWAL.sources_of(to),
        committed,
        transaction_hash,
        failure_reason,
        fee,
    )
    return _withdrawal(row)


async def note_failure(tx: Tx, withdrawal_id: str, reason: str) -> None:
    """Remember why a withdrawal did not get on, without moving it."""
    await tx.execute("UPDATE withdrawals SET failure_reason = $2 WHERE id = $1", withdrawal_id, reason)


async def set_payout(tx: Tx, withdrawal_id: str, airtm_payout_id: str) -> None:
    """Remember what its payout is called."""
    await tx.execute("UPDATE withdrawals SET airtm_payout_id = $2 WHERE id = $1", withdrawal_id, airtm_payout_id)


async def take_unsettled(tx: Tx, limit: int, stale_seconds: float) -> list[Withdrawal]:
    """Withdrawals at Airtm that have not ended and were not asked about lately; they count as asked about now."""
    rows = await tx.rows(
        f"""
        UPDATE withdrawals SET checked_at = clock_timestamp() WHERE id IN (
            SELECT id FROM withdrawals
            WHERE airtm_payout_id IS NOT NULL AND status <> ALL($3::text[])
                AND (checked_at IS NULL OR checked_at < clock_timestamp() - make_interval(secs => $2))
            ORDER BY checked_at NULLS FIRST LIMIT $1 FOR UPDATE SKIP LOCKED)
        RETURNING {_COLUMNS}
        """,
        limit,
        stale_seconds,
        sorted(WITHDRAWAL.terminal),
    )
    return [_withdrawal(row) for row in rows]


async def page(tx: Tx, marketplace_id: str, user_id: str | None, status: str | None, query: PageQuery) -> Page:
    """One page of withdrawals, ready for the wire."""
    select = f"SELECT {_COLUMNS} FROM withdrawals"
    filters = {"user_id": user_id, "status": status}
    found = await fetch(tx, marketplace_id, select, "withdrawals", filters, query)
    return Page([_withdrawal(row).wire() for row in found.items], found.next_cursor)

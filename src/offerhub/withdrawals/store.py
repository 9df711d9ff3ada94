"""All SQL of withdrawals."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from offerhub.kernel.ids import new_id
from offerhub.kernel.money import Units
from offerhub.kernel.pages import Page
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.paging import PageQuery, fetch
from offerhub.withdrawals.model import Refund, Reversal, Withdrawal
from offerhub.withdrawals.states import REFUND, WITHDRAWAL

_COLUMNS: Final = """id, marketplace_id, user_id, amount, fee, currency, status, destination_type, destination_ref,
    memo, description, committed, airtm_payout_id, transaction_hash, failure_reason, created_at, updated_at,
    (SELECT (r.amount, r.reason, r.settled_at) FROM airtm_refunds r
        WHERE r.withdrawal_id = withdrawals.id AND r.status = 'REVERSED') AS reversal"""


def _withdrawal(row: Row) -> Withdrawal:
    reversal = row["reversal"]
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
        None if reversal is None else Reversal(Units(reversal[0]), reversal[1], reversal[2]),
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


async def stands_still(tx: Tx, withdrawal_id: str, seconds: float) -> bool:
    """True when a withdrawal has not changed for this long."""
    found: bool = await tx.value(
        "SELECT updated_at < clock_timestamp() - make_interval(secs => $2) FROM withdrawals WHERE id = $1",
        withdrawal_id,
        seconds,
    )
    return found


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


class Marks(NamedTuple):
    """How far the list of deposits has been read: what was first in it, and the cursor at its end."""

    first: str | None
    end: str | None


_FIRST: Final = "airtm_deposits:first"
_END: Final = "airtm_deposits:end"


async def marks(tx: Tx) -> Marks:
    """How far the list of deposits has been read."""
    rows = await tx.rows("SELECT name, position FROM cursors WHERE name IN ($1, $2)", _FIRST, _END)
    found = {row["name"]: row["position"] for row in rows}
    return Marks(found.get(_FIRST), found.get(_END))


async def set_marks(tx: Tx, read: Marks) -> None:
    """Remember how far the list of deposits has been read; what is None stays as it is."""
    for name, position in ((_FIRST, read.first), (_END, read.end)):
        if position is not None:
            await tx.execute(
                """
                INSERT INTO cursors (name, position) VALUES ($1, $2)
                ON CONFLICT (name) DO UPDATE SET position = excluded.position, updated_at = clock_timestamp()
                """,
                name,
                position,
            )


async def forget_marks(tx: Tx) -> None:
    """Read the list of deposits anew from its beginning."""
    await tx.execute("DELETE FROM cursors WHERE name IN ($1, $2)", _FIRST, _END)


async def keep_refunds(tx: Tx, found: Sequence[tuple[str, str | None, int]]) -> int:
    """Keep refunds as (deposit id, payout id, units); returns how many were not known."""
    return await tx.execute(
        """
        INSERT INTO airtm_refunds (deposit_id, payout_id, amount)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) ON CONFLICT DO NOTHING
        """,
        [deposit_id for deposit_id, _, _ in found],
        [payout_id for _, payout_id, _ in found],
        [amount for _, _, amount in found],
    )


_REFUND: Final = "deposit_id, payout_id, amount, status, withdrawal_id"


def _refund(row: Row) -> Refund:
    return Refund(row["deposit_id"], row["payout_id"], Units(row["amount"]), row["status"], row["withdrawal_id"])


async def take_open_refunds(tx: Tx, limit: int) -> list[Refund]:
    """Refunds that nothing was concluded from yet, the longest ago looked at first; they count as looked at now."""
    rows = await tx.rows(
        f"""
        UPDATE airtm_refunds SET looked_at = clock_timestamp() WHERE deposit_id IN (
            SELECT deposit_id FROM airtm_refunds WHERE status = 'OPEN'
            ORDER BY looked_at NULLS FIRST LIMIT $1 FOR UPDATE SKIP LOCKED)
        RETURNING {_REFUND}
        """,
        limit,
    )
    return [_refund(row) for row in rows]


async def lock_refund(tx: Tx, deposit_id: str) -> Refund:
    """A refund that there is, locked until the transaction ends."""
    return _refund(await tx.one(f"SELECT {_REFUND} FROM airtm_refunds WHERE deposit_id = $1 FOR UPDATE", deposit_id))


async def settle_refund(tx: Tx, deposit_id: str, to: str, withdrawal: Withdrawal | None, reason: str | None) -> None:
    """Say what a refund came to."""
    await tx.one(
        """
        UPDATE airtm_refunds SET status = $2, marketplace_id = $3, withdrawal_id = $4, reason = $5,
            settled_at = clock_timestamp()
        WHERE deposit_id = $1 AND status = ANY($6::text[]) RETURNING deposit_id
        """,
        deposit_id,
        to,
        None if withdrawal is None else withdrawal.marketplace_id,
        None if withdrawal is None else withdrawal.id,
        reason,
        REFUND.sources_of(to),
    )


async def of_payout(tx: Tx, airtm_payout_id: str) -> Withdrawal | None:
    """The withdrawal that this payout pays, of whichever marketplace."""
    row = await tx.row(f"SELECT {_COLUMNS} FROM withdrawals WHERE airtm_payout_id = $1", airtm_payout_id)
    return None if row is None else _withdrawal(row)

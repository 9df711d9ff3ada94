"""All SQL of top-ups."""

from collections.abc import Sequence
from typing import Final

from offerhub.kernel.ids import new_id
from offerhub.kernel.money import Units
from offerhub.kernel.pages import Page
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.paging import PageQuery, fetch
from offerhub.topups.model import TopUp

_COLUMNS: Final = """id, marketplace_id, user_id, airtm_user_id, amount, net_amount, fee, currency, description,
    status, airtm_payin_id, airtm_status, confirmation_uri, failure_reason, fault, expires_at, created_at,
    updated_at"""


def _topup(row: Row) -> TopUp:
    return TopUp(
        row["id"],
        row["marketplace_id"],
        row["user_id"],
        row["airtm_user_id"],
        Units(row["amount"]),
        None if row["net_amount"] is None else Units(row["net_amount"]),
        None if row["fee"] is None else Units(row["fee"]),
        row["currency"],
        row["description"],
        row["status"],
        row["airtm_payin_id"],
        row["airtm_status"],
        row["confirmation_uri"],
        row["failure_reason"],
        row["fault"],
        row["expires_at"],
        row["created_at"],
        row["updated_at"],
    )


async def insert(
    tx: Tx,
    marketplace_id: str,
    user_id: str,
    airtm_user_id: str,
    amount: int,
    currency: str,
    description: str | None,
) -> TopUp:
    """A new top-up, which Airtm knows nothing of yet."""
    row = await tx.one(
        f"""
        INSERT INTO topups (id, marketplace_id, user_id, airtm_user_id, amount, currency, description)
        VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {_COLUMNS}
        """,
        new_id("topup"),
        marketplace_id,
        user_id,
        airtm_user_id,
        amount,
        currency,
        description,
    )
    return _topup(row)


async def get(tx: Tx, marketplace_id: str, topup_id: str) -> TopUp | None:
    """The top-up, within its marketplace."""
    row = await tx.row(
        f"SELECT {_COLUMNS} FROM topups WHERE marketplace_id = $1 AND id = $2", marketplace_id, topup_id
    )
    return None if row is None else _topup(row)


async def find(tx: Tx, topup_id: str) -> TopUp | None:
    """The top-up of whichever marketplace, for callers that Airtm sends."""
    row = await tx.row(f"SELECT {_COLUMNS} FROM topups WHERE id = $1", topup_id)
    return None if row is None else _topup(row)


async def lock(tx: Tx, topup_id: str) -> TopUp:
    """The top-up as it is now, locked; there must be one."""
    return _topup(await tx.one(f"SELECT {_COLUMNS} FROM topups WHERE id = $1 FOR UPDATE", topup_id))


async def move(
    tx: Tx,
    topup_id: str,
    to: str,
    sources: Sequence[str],
    *,
    payin_id: str | None = None,
    airtm_status: str | None = None,
    confirmation_uri: str | None = None,
    lifetime_days: int | None = None,
    net_amount: int | None = None,
    fee: int | None = None,
    failure_reason: str | None = None,
) -> TopUp:
    """Move a locked top-up that is in one of the sources; what is None stays as it was, but a fault goes."""
    row = await tx.one(
        f"""
        UPDATE topups SET status = $2, airtm_payin_id = coalesce($4, airtm_payin_id),
            airtm_status = coalesce($5, airtm_status), confirmation_uri = coalesce($6, confirmation_uri),
            expires_at = coalesce(created_at + make_interval(days => $7::int), expires_at),
            net_amount = $8, fee = $9, failure_reason = $10, fault = NULL, checked_at = clock_timestamp()
        WHERE id = $1 AND status = ANY($3::text[]) RETURNING {_COLUMNS}
        """,
        topup_id,
        to,
        list(sources),
        payin_id,
        airtm_status,
        confirmation_uri,
        lifetime_days,
        net_amount,
        fee,
        failure_reason,
    )
    return _topup(row)


async def saw(
    tx: Tx, topup_id: str, *, payin_id: str | None = None, airtm_status: str | None = None, fault: str | None = None
) -> TopUp:
    """Keep what a look at Airtm found that moves nothing; what is None stays as it was."""
    row = await tx.one(
        f"""
        UPDATE topups SET airtm_payin_id = coalesce(airtm_payin_id, $2), airtm_status = coalesce($3, airtm_status),
            fault = coalesce($4, fault), checked_at = clock_timestamp()
        WHERE id = $1 RETURNING {_COLUMNS}
        """,
        topup_id,
        payin_id,
        airtm_status,
        fault,
    )
    return _topup(row)


async def unsettled(tx: Tx, limit: int, stale_seconds: float) -> list[TopUp]:
    """Top-ups that have a payin and no end, not looked at for this long, of all marketplaces; oldest look first."""
    rows = await tx.rows(
        f"""
        SELECT {_COLUMNS} FROM topups
        WHERE airtm_payin_id IS NOT NULL
            AND status IN ('TOPUP_CREATED', 'TOPUP_AWAITING_USER_CONFIRMATION', 'TOPUP_PROCESSING')
            AND checked_at <= clock_timestamp() - make_interval(secs => $2)
        ORDER BY checked_at LIMIT $1
        """,
        limit,
        stale_seconds,
    )
    return [_topup(row) for row in rows]


async def page(tx: Tx, marketplace_id: str, user_id: str | None, status: str | None, query: PageQuery) -> Page:
    """One page of top-ups, ready for the wire."""
    filters = {"user_id": user_id, "status": status}
    found = await fetch(tx, marketplace_id, f"SELECT {_COLUMNS} FROM topups", "topups", filters, query)
    return Page([_topup(row).wire() for row in found.items], found.next_cursor)

"""All SQL of disputes."""

from collections.abc import Sequence
from typing import Final

from offerhub.disputes.model import Dispute, ListDisputes, OpenDispute
from offerhub.kernel.ids import new_id
from offerhub.orders.model import Decision
from offerhub.runtime.database import Row, Tx

LISTED_MAX: Final = 500
"""The contract gives this list no pages; more than this many need a filter."""

_COLUMNS: Final = """id, marketplace_id, order_id, opened_by, reason, evidence, status, assigned_to,
    resolution_decision, decision_note, release_amount, refund_amount, resolved_at, created_at, updated_at"""


def _dispute(row: Row) -> Dispute:
    return Dispute(
        row["id"],
        row["marketplace_id"],
        row["order_id"],
        row["opened_by"],
        row["reason"],
        row["evidence"],
        row["status"],
        row["assigned_to"],
        row["resolution_decision"],
        row["decision_note"],
        row["release_amount"],
        row["refund_amount"],
        row["resolved_at"],
        row["created_at"],
        row["updated_at"],
    )


async def insert(tx: Tx, marketplace_id: str, order_id: str, opened: OpenDispute) -> Dispute | None:
    """A new dispute; None when the order has one, which is one for ever."""
    row = await tx.row(
        f"""
        INSERT INTO disputes (id, marketplace_id, order_id, opened_by, reason, evidence)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (order_id) DO NOTHING RETURNING {_COLUMNS}
        """,
        new_id("dsp"),
        marketplace_id,
        order_id,
        opened.openedBy,
        opened.reason,
        opened.evidence,
    )
    return None if row is None else _dispute(row)


async def get(tx: Tx, marketplace_id: str, dispute_id: str) -> Dispute | None:
    """The dispute, within its marketplace."""
    row = await tx.row(
        f"SELECT {_COLUMNS} FROM disputes WHERE marketplace_id = $1 AND id = $2",
        marketplace_id,
        dispute_id,
    )
    return None if row is None else _dispute(row)


async def of_orders(tx: Tx, order_ids: Sequence[str]) -> list[Dispute]:
    """The disputes of some orders."""
    rows = await tx.rows(
        f"SELECT {_COLUMNS} FROM disputes WHERE order_id = ANY($1::text[])",
        list(order_ids),
    )
    return [_dispute(row) for row in rows]


async def find(tx: Tx, marketplace_id: str, query: ListDisputes) -> list[Dispute]:
    """The marketplace's disputes that match, newest first."""
    rows = await tx.rows(
        f"""
        SELECT {_COLUMNS} FROM disputes
        WHERE marketplace_id = $1 AND ($2::text IS NULL OR order_id = $2) AND ($3::text IS NULL OR status = $3)
            AND ($4::text IS NULL OR opened_by = $4)
        ORDER BY id DESC LIMIT $5
        """,
        marketplace_id,
        query.orderId,
        query.status,
        query.openedBy,
        LISTED_MAX,
    )
    return [_dispute(row) for row in rows]


async def assign(tx: Tx, dispute_id: str, assigned_to: str) -> Dispute | None:
    """Take an open dispute under review; None when it is not open."""
    row = await tx.row(
        f"""
        UPDATE disputes SET status = 'UNDER_REVIEW', assigned_to = $2
        WHERE id = $1 AND status = 'OPEN' RETURNING {_COLUMNS}
        """,
        dispute_id,
        assigned_to,
    )
    return None if row is None else _dispute(row)


async def decide(tx: Tx, dispute_id: str, decision: Decision, note: str | None, release: int, refund: int) -> Dispute:
    """The dispute is resolved and paid out."""
    row = await tx.one(
        f"""
        UPDATE disputes SET status = 'RESOLVED', resolution_decision = $2, decision_note = $3, release_amount = $4,
            refund_amount = $5, resolved_at = clock_timestamp()
        WHERE id = $1 AND status = 'UNDER_REVIEW' RETURNING {_COLUMNS}
        """,
        dispute_id,
        decision,
        note,
        release,
        refund,
    )
    return _dispute(row)

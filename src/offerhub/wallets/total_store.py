"""All SQL of the comparison of users' wallets with the chain. It reads only."""

from collections.abc import Sequence
from typing import Final

from offerhub.runtime.database import Row, Tx


async def least_lately_looked_at(tx: Tx, kind: str, limit: int) -> list[Row]:
    """Users with a wallet on the chain: those whose difference is to be confirmed, then those looked at longest ago.

    Each is id, marketplace_id, addresses.
    """
    return await tx.rows(
        """
        SELECT u.id, u.marketplace_id, w.addresses
        FROM (
            SELECT user_id, array_agg(public_key ORDER BY public_key) AS addresses FROM wallets
            WHERE purpose = 'user' AND type = 'INVISIBLE' GROUP BY user_id HAVING bool_or(status = 'READY')
        ) w
        JOIN users u ON u.id = w.user_id
        LEFT JOIN total_looks l ON l.kind = $1 AND l.subject_id = u.id
        ORDER BY coalesce(l.is_first, false) DESC, l.looked_at NULLS FIRST, u.id LIMIT $2
        """,
        kind,
        limit,
    )


BACKED: Final = """
    SELECT u.id, coalesce(b.units, 0)::bigint AS units, b.postings, coalesce(q.units, 0)::bigint AS aside,
        u.id IN (SELECT user_id FROM moving) AS is_moving
    FROM users u
    LEFT JOIN LATERAL (
        SELECT count(*) AS postings, sum(p.amount) FILTER (WHERE t.kind <> 'manual_release' AND NOT EXISTS (
            SELECT FROM ledger.postings o JOIN ledger.accounts oa ON oa.id = o.account_id
            WHERE o.transaction_id = p.transaction_id
                AND oa.kind IN ('world:airtm', 'world:treasury', 'world:manual', 'capital:treasury'))) AS units
        FROM ledger.accounts a
        JOIN ledger.postings p ON p.account_id = a.id
        JOIN ledger.transactions t ON t.id = p.transaction_id
        WHERE a.marketplace_id = u.marketplace_id AND a.owner = u.id
            AND a.kind IN ('available', 'reserved', 'withdrawing')
    ) b ON true
    LEFT JOIN LATERAL (
        SELECT sum((r.record ->> 'amount')::bigint) AS units FROM wallets w
        JOIN quarantined_records r ON r.source = 'deposits' AND split_part(r.record_id, ':', 2) = w.public_key
        WHERE w.user_id = u.id AND w.type = 'INVISIBLE' AND r.record ->> 'amount' ~ '^[0-9]{1,18}$'
    ) q ON true
    WHERE u.id = ANY($1::text[])
"""
MOVING: Final = """
    WITH running AS (SELECT subject_id FROM sagas WHERE status = 'RUNNING'),
    ordered AS (
        SELECT o.buyer_id, o.seller_id FROM running JOIN orders o ON o.id = running.subject_id
        UNION ALL
        SELECT o.buyer_id, o.seller_id FROM running
        JOIN escrow_milestones m ON m.milestone_id = running.subject_id
        JOIN escrows e ON e.id = m.escrow_id JOIN orders o ON o.id = e.order_id
    ),
    moving AS (
        SELECT buyer_id AS user_id FROM ordered UNION SELECT seller_id FROM ordered
        UNION SELECT w.user_id FROM running JOIN withdrawals w ON w.id = running.subject_id
    )
"""


async def backed(tx: Tx, user_ids: Sequence[str]) -> dict[str, Row]:
    """User to what must be in their wallets on the chain (units), what was put aside there (aside), whether a saga
    may be moving it (is_moving), and how many postings they have.

    What came from or went to Airtm, the treasury or nowhere is not in a wallet, and what was released from one user
    to another by hand has not left the first one's.
    """
    rows = await tx.rows(MOVING + BACKED, list(user_ids))
    return {row["id"]: row for row in rows}

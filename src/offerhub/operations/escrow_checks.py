"""The checks of orders and their escrows: what is in the contracts, what came out of them, how their states agree."""

from collections.abc import Sequence
from typing import Final

from offerhub.operations.check import Check

ESCROW_CHECKS: Final[Sequence[Check]] = (
    Check(
        "I12",
        "An order's escrow account holds its amount, or its unpaid milestones', exactly while its contract does.",
        """
        SELECT o.id, o.status, e.status AS escrow, o.amount, coalesce(a.balance, 0) AS in_books
        FROM orders o
        LEFT JOIN escrows e ON e.order_id = o.id
        LEFT JOIN ledger.accounts a ON a.marketplace_id = o.marketplace_id AND a.owner = o.id AND a.kind = 'escrow'
        WHERE coalesce(a.balance, 0) <> CASE
            WHEN e.status NOT IN ('FUNDED', 'RELEASING', 'REFUNDING', 'DISPUTED') OR e.status IS NULL THEN 0
            WHEN o.escrow_type = 'single-release' THEN o.amount
            ELSE coalesce((SELECT sum(m.amount) FROM escrow_milestones m
                WHERE m.escrow_id = e.id AND m.paid_at IS NULL), 0) END
        """,
    ),
    Check(
        "I12",
        "What went into an escrow came out of it as payouts and fees, and nothing else did.",
        """
        SELECT o.id, sum(p.amount) FILTER (WHERE p.amount > 0) AS funded,
            -coalesce(sum(p.amount) FILTER (WHERE p.amount < 0), 0) AS paid_out
        FROM orders o
        JOIN ledger.accounts a ON a.marketplace_id = o.marketplace_id AND a.owner = o.id AND a.kind = 'escrow'
        JOIN ledger.postings p ON p.account_id = a.id
        GROUP BY o.id, o.amount, o.status, o.escrow_type
        HAVING coalesce(sum(p.amount) FILTER (WHERE p.amount > 0), 0) <> o.amount
            OR (o.status = 'CLOSED' AND coalesce(sum(p.amount), 0) <> 0)
            OR (o.escrow_type = 'single-release' AND count(*) FILTER (WHERE p.amount < 0) > 1)
        """,
    ),
    Check(
        "I12",
        "Every milestone that was paid out has posted its amount exactly once, and every such posting its milestone.",
        """
        SELECT m.milestone_id, m.status, m.amount, t.id AS transaction, t.kind
        FROM (SELECT m.*, e.order_id FROM escrow_milestones m JOIN escrows e ON e.id = m.escrow_id
            WHERE m.paid_at IS NOT NULL) m
        FULL JOIN (SELECT * FROM ledger.transactions WHERE kind LIKE 'milestone\\_%') t
            ON t.marketplace_id = m.marketplace_id
            AND t.business_key = 'milestone:' || m.milestone_id || ':payout'
        WHERE m.milestone_id IS NULL OR t.id IS NULL OR t.kind <> 'milestone_' || lower(m.status)
            OR m.order_id <> t.subject OR m.amount IS DISTINCT FROM (
                SELECT -sum(p.amount) FROM ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id
                WHERE p.transaction_id = t.id AND a.kind = 'escrow' AND a.owner = t.subject)
        """,
    ),
    Check(
        "I12",
        "A multi-release escrow's milestones are its order's, hold its amount, and have ended when it has.",
        """
        SELECT o.id, o.escrow_type, e.status, o.amount, sum(m.amount) AS in_milestones
        FROM orders o JOIN escrows e ON e.order_id = o.id
        LEFT JOIN (escrow_milestones m JOIN milestones p ON p.id = m.milestone_id)
            ON m.escrow_id = e.id AND p.order_id = o.id AND p.position = m.position AND p.amount = m.amount
        GROUP BY o.id, o.escrow_type, e.id, e.status, o.amount
        HAVING coalesce(sum(m.amount), 0) <> CASE o.escrow_type WHEN 'multi-release' THEN o.amount ELSE 0 END
            OR (e.status IN ('RELEASED', 'REFUNDED') AND bool_or(m.paid_at IS NULL) AND count(m.position) > 0)
            OR (e.status IN ('CREATING', 'CREATED', 'FUNDING', 'DISPUTED') AND bool_or(m.status = 'PAYING'))
        """,
    ),
    Check(
        "I6",
        "Order and escrow tell the same story.",
        """
        SELECT o.id, o.status, e.status AS escrow FROM orders o LEFT JOIN escrows e ON e.order_id = o.id
        WHERE NOT coalesce(CASE
            WHEN o.status IN ('ORDER_CREATED', 'FUNDS_RESERVED') THEN e.id IS NULL
            WHEN o.status = 'ESCROW_CREATING' THEN e.status = 'CREATING'
            WHEN o.status = 'ESCROW_FUNDING' THEN e.status IN ('CREATED', 'FUNDING')
            WHEN o.status IN ('ESCROW_FUNDED', 'IN_PROGRESS') THEN e.status = 'FUNDED'
            WHEN o.status = 'RELEASE_REQUESTED' THEN e.status = 'RELEASING'
            WHEN o.status = 'REFUND_REQUESTED' THEN e.status = 'REFUNDING'
            WHEN o.status = 'DISPUTED' THEN e.status = 'DISPUTED'
            WHEN o.status IN ('RELEASED', 'REFUNDED') THEN e.status = o.status
            WHEN o.final_status = 'CANCELED' THEN e.id IS NULL OR e.status = 'CREATED'
            ELSE e.status = o.final_status END, false)
            OR (o.status = 'CLOSED' AND o.final_status IS NULL)
        """,
    ),
    Check(
        "I12",
        "The treasury paid exactly the orders into escrow that say so, and was paid by no others.",
        """
        SELECT o.id, e.treasury, t.kind, sum(p.amount) AS from_treasury
        FROM ledger.transactions t
        JOIN orders o ON o.id = t.subject
        JOIN escrows e ON e.order_id = o.id
        LEFT JOIN (ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id AND a.kind = 'world:treasury')
            ON p.transaction_id = t.id
        WHERE t.kind IN ('fund_escrow', 'released', 'refunded') OR t.kind LIKE 'milestone\\_%'
        GROUP BY o.id, e.treasury, t.kind, t.id
        HAVING (e.treasury IS NOT NULL) <> (sum(p.amount) IS NOT NULL)
            OR (t.kind = 'fund_escrow' AND sum(p.amount) <> o.amount)
            OR (t.kind <> 'fund_escrow' AND sum(p.amount) > 0)
        """,
    ),
)

"""What must hold in the database: each sentence with the query whose rows are where it does not.

Named after the invariant that a check shows (reliability I1, I2, …).
"""

from collections.abc import Sequence
from typing import Final

from offerhub.audit.model import CONTENT
from offerhub.operations.border_checks import BORDER_CHECKS
from offerhub.operations.check import Check
from offerhub.operations.escrow_checks import ESCROW_CHECKS
from offerhub.operations.state_checks import STATE_CHECKS

CHECKS: Final[Sequence[Check]] = (
    Check(
        "I1",
        "Every asset sums to zero over all postings.",
        """
        SELECT a.asset, sum(p.amount) AS sum FROM ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id
        GROUP BY a.asset HAVING sum(p.amount) <> 0
        """,
    ),
    Check(
        "I1",
        "Every transaction balances and has at least two legs.",
        """
        SELECT t.id, t.business_key, coalesce(sum(p.amount), 0) AS sum, count(p.*) AS legs
        FROM ledger.transactions t LEFT JOIN ledger.postings p ON p.transaction_id = t.id
        GROUP BY t.id HAVING coalesce(sum(p.amount), 0) <> 0 OR count(p.*) < 2
        """,
    ),
    Check(
        "I1",
        "No posting crosses from one marketplace into another.",
        """
        SELECT t.id, t.marketplace_id AS transaction_of, a.marketplace_id AS account_of
        FROM ledger.postings p
        JOIN ledger.transactions t ON t.id = p.transaction_id
        JOIN ledger.accounts a ON a.id = p.account_id
        WHERE a.marketplace_id <> t.marketplace_id
        """,
    ),
    Check(
        "I1",
        "Every posting has its account and its transaction, and both have their marketplace.",
        """
        SELECT p.transaction_id, p.position, p.account_id, t.marketplace_id FROM ledger.postings p
        LEFT JOIN ledger.accounts a ON a.id = p.account_id
        LEFT JOIN ledger.transactions t ON t.id = p.transaction_id
        LEFT JOIN marketplaces m ON m.id = t.marketplace_id
        WHERE a.id IS NULL OR t.id IS NULL OR m.id IS NULL
        """,
    ),
    Check(
        "I2",
        "Every stored balance is the sum of its postings, and its version their number.",
        """
        SELECT a.id, a.owner, a.kind, a.balance AS stored, coalesce(sum(p.amount), 0) AS derived, a.version,
            count(p.*) AS postings
        FROM ledger.accounts a LEFT JOIN ledger.postings p ON p.account_id = a.id
        WHERE a.floored
        GROUP BY a.id HAVING a.balance <> coalesce(sum(p.amount), 0) OR a.version <> count(p.*)
        """,
    ),
    Check(
        "I2",
        "Each posting begins where the one before it ended, without a gap in the versions.",
        """
        SELECT account_id, account_version, amount, balance_after FROM (
            SELECT p.account_id, p.account_version, p.amount, p.balance_after,
                lag(p.balance_after, 1, 0::bigint) OVER w AS before,
                lag(p.account_version, 1, 0::bigint) OVER w AS prior
            FROM ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id AND a.floored
            WINDOW w AS (PARTITION BY p.account_id ORDER BY p.account_version)
        ) chain
        WHERE account_version IS NULL OR balance_after IS NULL OR before + amount <> balance_after
            OR prior + 1 <> account_version
        """,
    ),
    Check(
        "I3",
        "No account with a floor is below zero, nor ever was.",
        """
        SELECT a.id, a.owner, a.kind, p.account_version, p.balance_after
        FROM ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id
        WHERE a.floored AND p.balance_after < 0
        """,
    ),
    Check(
        "I3",
        "A user's reserved balance is the sum of what each reservation still holds.",
        """
        SELECT coalesce(a.owner, h.user_id) AS user_id, coalesce(a.balance, 0) AS reserved,
            coalesce(h.held, 0) AS held
        FROM (SELECT * FROM ledger.accounts WHERE kind = 'reserved') a
        FULL JOIN (
            SELECT marketplace_id, user_id, sum(amount) AS held FROM ledger.holds GROUP BY marketplace_id, user_id
        ) h ON h.marketplace_id = a.marketplace_id AND h.user_id = a.owner
        WHERE coalesce(a.balance, 0) <> coalesce(h.held, 0)
        """,
    ),
    Check(
        "I4",
        "An order's reservation holds its amount exactly while its state says so.",
        """
        SELECT o.id, o.status, o.amount, coalesce(h.amount, 0) AS held
        FROM orders o
        LEFT JOIN ledger.holds h ON h.marketplace_id = o.marketplace_id AND h.user_id = o.buyer_id
            AND h.source = 'order' AND h.reference = o.id
        WHERE coalesce(h.amount, 0) <> CASE
            WHEN o.status IN ('FUNDS_RESERVED', 'ESCROW_CREATING', 'ESCROW_FUNDING') THEN o.amount ELSE 0 END
        """,
    ),
    Check(
        "I6",
        "A withdrawal's money is on its way exactly while its state says so.",
        """
        SELECT coalesce(a.owner, w.user_id) AS user_id, coalesce(a.balance, 0) AS withdrawing,
            coalesce(w.pending, 0) AS pending
        FROM (SELECT * FROM ledger.accounts WHERE kind = 'withdrawing') a
        FULL JOIN (
            SELECT marketplace_id, user_id, sum(amount) AS pending FROM withdrawals
            WHERE status NOT IN ('WITHDRAWAL_COMPLETED', 'WITHDRAWAL_FAILED', 'WITHDRAWAL_CANCELED')
            GROUP BY marketplace_id, user_id
        ) w ON w.marketplace_id = a.marketplace_id AND w.user_id = a.owner
        WHERE coalesce(a.balance, 0) <> coalesce(w.pending, 0)
        """,
    ),
    Check(
        "I4",
        "A withdrawal that ended has posted its end exactly once, to the world or back to the user.",
        """
        SELECT w.id, w.status, t.kind FROM withdrawals w
        LEFT JOIN ledger.transactions t
            ON t.marketplace_id = w.marketplace_id AND t.business_key = 'withdrawal:' || w.id || ':end'
        WHERE t.kind IS DISTINCT FROM CASE w.status
            WHEN 'WITHDRAWAL_COMPLETED' THEN 'withdrawal_completed'
            WHEN 'WITHDRAWAL_FAILED' THEN 'withdrawal_failed'
            WHEN 'WITHDRAWAL_CANCELED' THEN 'withdrawal_canceled' END
        """,
    ),
    Check(
        "I8",
        "Each aggregate's events are numbered from one without a gap.",
        """
        SELECT aggregate_type, aggregate_id, count(*) AS events, max(sequence) AS last FROM events
        GROUP BY aggregate_type, aggregate_id HAVING count(*) <> max(sequence) OR min(sequence) <> 1
        """,
    ),
    Check(
        "I9",
        "Every event has one place in the log or waits for one; places have no gap and keep each aggregate's order.",
        """
        SELECT e.id, e.position, NULL::bigint AS place FROM events e
        WHERE (EXISTS (SELECT FROM event_log l WHERE l.event = e.position)) =
            (EXISTS (SELECT FROM event_arrivals a WHERE a.event = e.position))
        UNION ALL
        SELECT id, position, place FROM (
            SELECT e.id, l.event AS position, l.place, e.sequence,
                l.place - lag(l.place, 1, 0::bigint) OVER p AS step, lag(e.sequence, 1, 0) OVER a AS before
            FROM event_log l LEFT JOIN events e ON e.position = l.event
            WINDOW p AS (ORDER BY l.place), a AS (PARTITION BY e.aggregate_type, e.aggregate_id ORDER BY l.place)
        ) log
        WHERE id IS NULL OR step <> 1 OR sequence <> before + 1
        """,
    ),
    Check(
        "I8",
        "Every closed order, every ended withdrawal and every reversal of one has its event.",
        """
        SELECT o.id, o.status, o.final_status FROM orders o
        WHERE o.status = 'CLOSED' AND NOT EXISTS (
            SELECT FROM events v WHERE v.aggregate_type = 'Order' AND v.aggregate_id = o.id
                AND v.type = CASE o.final_status WHEN 'CANCELED' THEN 'order.canceled' ELSE 'order.closed' END)
        UNION ALL
        SELECT w.id, w.status, NULL FROM withdrawals w
        WHERE w.status IN ('WITHDRAWAL_COMPLETED', 'WITHDRAWAL_FAILED', 'WITHDRAWAL_CANCELED') AND NOT EXISTS (
            SELECT FROM events v WHERE v.aggregate_type = 'Withdrawal' AND v.aggregate_id = w.id
                AND v.type = lower(replace(w.status, 'WITHDRAWAL_', 'withdrawal.')))
        UNION ALL
        SELECT r.withdrawal_id, r.status, r.deposit_id FROM airtm_refunds r
        WHERE r.status = 'REVERSED' AND NOT EXISTS (
            SELECT FROM events v WHERE v.aggregate_type = 'Withdrawal' AND v.aggregate_id = r.withdrawal_id
                AND v.type = 'withdrawal.reversed')
        """,
    ),
    Check(
        "I10",
        "Every link of the audit chain follows from the one before it and from its entry.",
        f"""
        SELECT sequence, entry_id FROM (
            SELECT c.sequence, c.entry_id, c.hash, e.id, {CONTENT} AS content,
                lag(c.hash, 1, decode(repeat('00', 32), 'hex')) OVER w AS previous,
                lag(c.sequence, 1, 0::bigint) OVER w AS prior
            FROM audit_chain c LEFT JOIN audit_entries e ON e.id = c.entry_id
            WINDOW w AS (ORDER BY c.sequence)
        ) chain
        WHERE id IS NULL OR prior + 1 <> sequence OR sha256(previous || convert_to(content, 'UTF8')) <> hash
        """,
    ),
    Check(
        "I11",
        "Every booked deposit has exactly one posting of its amount, and every such posting its deposit.",
        """
        SELECT d.operation_id, d.operation_index, d.amount, t.id AS transaction
        FROM deposits d
        FULL JOIN (SELECT * FROM ledger.transactions WHERE kind = 'deposit') t
            ON t.marketplace_id = d.marketplace_id
            AND t.business_key = d.business_key
        WHERE d.operation_id IS NULL OR t.id IS NULL OR d.amount IS DISTINCT FROM (
            SELECT sum(p.amount) FROM ledger.postings p WHERE p.transaction_id = t.id AND p.amount > 0)
        """,
    ),
    Check(
        "I4",
        "Every top-up that succeeded has credited what arrived exactly once, and nothing else counts as one.",
        """
        SELECT u.id, u.status, u.net_amount, t.id AS transaction, t.business_key
        FROM (SELECT * FROM topups WHERE status = 'TOPUP_SUCCEEDED') u
        FULL JOIN (SELECT * FROM ledger.transactions WHERE kind = 'topup') t
            ON t.marketplace_id = u.marketplace_id AND t.business_key = 'topup:' || u.id || ':credit'
        WHERE u.id IS NULL OR t.id IS NULL OR u.net_amount IS DISTINCT FROM (
            SELECT sum(p.amount) FROM ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id
            WHERE p.transaction_id = t.id AND a.kind = 'available' AND a.owner = u.user_id)
        """,
    ),
    Check(
        "I4",
        "Every payout that came back has credited once what came back, of a withdrawal that was completed; no other.",
        """
        SELECT r.deposit_id, r.withdrawal_id, r.amount, w.amount AS paid, w.status, t.id AS transaction
        FROM (SELECT * FROM airtm_refunds WHERE status = 'REVERSED') r
        FULL JOIN (SELECT * FROM ledger.transactions WHERE kind = 'withdrawal_reversed') t
            ON t.marketplace_id = r.marketplace_id
            AND t.business_key = 'withdrawal:' || r.withdrawal_id || ':reversal'
        LEFT JOIN withdrawals w ON w.id = r.withdrawal_id
        WHERE r.deposit_id IS NULL OR t.id IS NULL OR w.status <> 'WITHDRAWAL_COMPLETED' OR r.amount > w.amount
            OR r.payout_id IS DISTINCT FROM w.airtm_payout_id OR r.amount IS DISTINCT FROM (
                SELECT sum(p.amount) FROM ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id
                WHERE p.transaction_id = t.id AND a.kind = 'available' AND a.owner = w.user_id)
            OR -r.amount IS DISTINCT FROM (
                SELECT sum(p.amount) FROM ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id
                WHERE p.transaction_id = t.id AND a.kind = 'world:airtm')
        """,
    ),
    Check(
        "I4",
        "Only top-ups, withdrawals and the operator's rebalancing move what is at Airtm.",
        """
        SELECT t.id, t.kind, t.business_key, p.amount
        FROM ledger.postings p
        JOIN ledger.accounts a ON a.id = p.account_id AND a.kind = 'world:airtm'
        JOIN ledger.transactions t ON t.id = p.transaction_id
        WHERE t.kind NOT IN ('topup', 'rebalancing') AND t.kind NOT LIKE 'withdrawal%'
        """,
    ),
    Check(
        "I11",
        "Everything paid into the treasury is booked exactly once, and nothing else counts as such.",
        """
        SELECT d.operation_id, d.operation_index, d.amount, t.id AS transaction
        FROM treasury_deposits d
        FULL JOIN (SELECT * FROM ledger.transactions WHERE kind = 'treasury_deposit') t
            ON t.marketplace_id = d.marketplace_id
            AND t.business_key = d.business_key
        WHERE d.operation_id IS NULL OR t.id IS NULL OR d.amount IS DISTINCT FROM (
            SELECT sum(p.amount) FROM ledger.postings p WHERE p.transaction_id = t.id AND p.amount > 0)
        """,
    ),
    Check(
        "I8",
        "Every top-up has the event of the state it is in.",
        """
        SELECT u.id, u.status FROM topups u WHERE NOT EXISTS (
            SELECT FROM events v WHERE v.aggregate_type = 'TopUp' AND v.aggregate_id = u.id
                AND v.type = CASE u.status
                    WHEN 'TOPUP_AWAITING_USER_CONFIRMATION' THEN 'topup.confirmation_required'
                    ELSE 'topup.' || lower(substr(u.status, 7)) END)
        """,
    ),
    Check(
        "I18",
        "No two envelopes share a source account and sequence number, unless the chain proved one absent.",
        """
        SELECT source_account, sequence, count(*) AS envelopes FROM envelopes WHERE status <> 'EXPIRED'
        GROUP BY source_account, sequence HAVING count(*) > 1
        """,
    ),
    Check(
        "I18",
        "Every settled step on the chain has one envelope that succeeded.",
        """
        SELECT s.saga_id, s.position, s.name, s.outcome ->> 'hash' AS hash FROM saga_steps s
        LEFT JOIN (
            SELECT saga_id, position, count(*) AS succeeded FROM envelopes WHERE status = 'SUCCEEDED'
            GROUP BY saga_id, position
        ) e ON e.saga_id = s.saga_id AND e.position = s.position
        WHERE s.status = 'SETTLED' AND s.outcome ? 'ledger' AND coalesce(e.succeeded, 0) <> 1
        """,
    ),
    *ESCROW_CHECKS,
    *STATE_CHECKS,
    *BORDER_CHECKS,
)

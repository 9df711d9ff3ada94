"""The checks of states and their histories: what was told, what is carried on, what is in doubt, and when."""

from collections.abc import Sequence
from typing import Final

from offerhub.operations.check import Check
from offerhub.operations.histories import HISTORIES, event_pairs, state_pairs, told_by, values

_TELLING: Final = ", ".join(f"'{event}'" for aggregate in HISTORIES for event in told_by(aggregate))
_PRESENT: Final = " UNION ALL ".join(
    f"SELECT '{aggregate}' AS type, id, status FROM {machine.column.partition('.')[0]}"
    for aggregate, machine in HISTORIES.items()
)

STATE_CHECKS: Final[Sequence[Check]] = (
    Check(
        "I5",
        "Whatever is on its way outside is carried by a saga that is running, and every such saga has its time.",
        """
        SELECT 'escrow' AS what, e.id, e.status FROM escrows e
        WHERE e.status IN ('CREATING', 'FUNDING', 'RELEASING', 'REFUNDING')
            AND NOT EXISTS (SELECT FROM sagas g WHERE g.subject_id = e.order_id AND g.status = 'RUNNING')
        UNION ALL
        SELECT 'withdrawal', w.id, w.status FROM withdrawals w
        WHERE w.airtm_payout_id IS NULL
            AND w.status NOT IN ('WITHDRAWAL_COMPLETED', 'WITHDRAWAL_FAILED', 'WITHDRAWAL_CANCELED')
            AND (w.committed OR w.status <> 'WITHDRAWAL_CREATED')
            AND NOT EXISTS (SELECT FROM sagas g WHERE g.subject_id = w.id AND g.status = 'RUNNING')
        UNION ALL
        SELECT 'saga', g.id, g.kind FROM sagas g
        WHERE g.status = 'RUNNING' AND (g.next_attempt_at = 'infinity' OR g.lease_until = 'infinity')
        UNION ALL
        SELECT 'job', o.id::text, o.queue FROM outbox o WHERE o.due_at = 'infinity'
        """,
    ),
    Check(
        "I6",
        "Each event tells a state that the table of moves reaches from the one told before; nothing follows an end.",
        f"""
        SELECT aggregate_type, aggregate_id, sequence, before, type FROM (
            SELECT aggregate_type, aggregate_id, sequence, type,
                lag(type) OVER (PARTITION BY aggregate_type, aggregate_id ORDER BY sequence) AS before
            FROM events WHERE type IN ({_TELLING})
        ) told
        WHERE before IS NOT NULL
            AND (aggregate_type, before, type) NOT IN (VALUES {values(event_pairs())})
        """,
    ),
    Check(
        "I6",
        "Everything is in a state that its last event allows, and no end was reached untold.",
        f"""
        SELECT p.type, p.id, p.status, l.type AS last FROM ({_PRESENT}) p
        LEFT JOIN (
            SELECT DISTINCT ON (aggregate_type, aggregate_id) aggregate_type, aggregate_id, type FROM events
            WHERE type IN ({_TELLING}) ORDER BY aggregate_type, aggregate_id, sequence DESC
        ) l ON l.aggregate_type = p.type AND l.aggregate_id = p.id
        WHERE (p.type, coalesce(l.type, ''), p.status) NOT IN (VALUES {values(state_pairs())})
        """,
    ),
    Check(
        "I7",
        "A saga that ended left nothing open: no step in doubt, no envelope, no lane.",
        """
        SELECT g.id, g.kind, g.status, e.hash FROM sagas g
        LEFT JOIN envelopes e ON e.saga_id = g.id AND e.status IN ('SIGNED', 'SUBMITTED')
        LEFT JOIN signer_lanes l ON l.saga_id = g.id
        LEFT JOIN saga_steps s ON s.saga_id = g.id AND s.status IN ('ATTEMPTED', 'UNKNOWN')
        WHERE g.status <> 'RUNNING' AND num_nonnulls(e.hash, l.account, s.saga_id) > 0
        """,
    ),
    Check(
        "I7",
        "Every step and every envelope that has ended names its evidence.",
        """
        SELECT saga_id, position, status, NULL AS hash FROM saga_steps
        WHERE (status IN ('SETTLED', 'REFUSED')) <> (outcome IS NOT NULL)
        UNION ALL
        SELECT saga_id, position, status, hash FROM envelopes
        WHERE NOT CASE WHEN status IN ('SUCCEEDED', 'FAILED') THEN ledger IS NOT NULL AND result IS NOT NULL
            WHEN status = 'EXPIRED' THEN result IS NOT NULL ELSE ledger IS NULL END
        """,
    ),
    Check(
        "I15",
        "In each marketplace the moments of the log rise from place to place.",
        """
        SELECT place, marketplace_id, at FROM (
            SELECT place, marketplace_id, at, lag(at) OVER (PARTITION BY marketplace_id ORDER BY place) AS before
            FROM event_log
        ) moments WHERE at <= before
        """,
    ),
)

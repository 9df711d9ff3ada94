"""All SQL of policies."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from offerhub.policies.model import Action, Due, Name, Policy
from offerhub.runtime.database import Row, Tx


def _policy(row: Row) -> Policy:
    return Policy(row["name"], row["span_hours"], row["action"], row["changed_at"], row["changed_by"])


async def of_marketplace(tx: Tx, marketplace_id: str, *, lock: bool = False) -> dict[Name, Policy]:
    """The policies that were ever set, by name. With `lock` nobody else changes them until the transaction ends."""
    if lock:
        await tx.rows("SELECT FROM marketplaces WHERE id = $1 FOR NO KEY UPDATE", marketplace_id)
    rows = await tx.rows(
        "SELECT name, span_hours, action, changed_at, changed_by FROM policies WHERE marketplace_id = $1",
        marketplace_id,
    )
    return {row["name"]: _policy(row) for row in rows}


async def put(
    tx: Tx, marketplace_id: str, name: Name, span_hours: int | None, action: Action, now: datetime, by: str
) -> None:
    """Set one policy; what was in its state before has the whole span from `now`."""
    await tx.execute(
        """
        INSERT INTO policies (marketplace_id, name, span_hours, action, changed_at, changed_by)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (marketplace_id, name) DO UPDATE SET span_hours = excluded.span_hours, action = excluded.action,
            changed_at = excluded.changed_at, changed_by = excluded.changed_by
        """,
        marketplace_id,
        name,
        span_hours,
        action,
        now,
        by,
    )


async def database_time(tx: Tx) -> datetime:
    """The database's clock, by which states are dated."""
    moment: datetime = await tx.value("SELECT clock_timestamp()")
    return moment


# Each finds, for one marketplace `p` with a policy that is on, what is in its state since before `$1 - span`. The
# span is counted from the last change of the policy at the earliest, so that is asked before any row is looked at.
_DUE: Final = """
SELECT p.action, p.marketplace_id, p.span_hours, found.id AS subject_id, found.since AS state_since,
    greatest(found.since, p.changed_at) + make_interval(hours => p.span_hours) AS due_at
FROM policies p CROSS JOIN LATERAL ({found} LIMIT $2) found
WHERE p.name = '{name}' AND p.span_hours IS NOT NULL
    AND p.changed_at <= $1::timestamptz - make_interval(hours => p.span_hours)
"""
_NOT_FIRED: Final = """NOT EXISTS (
    SELECT FROM policy_firings f WHERE f.policy = '{name}' AND f.subject_id = {id} AND f.state_since = {since})"""
_CALM: Final = """NOT EXISTS (SELECT FROM sagas g WHERE g.subject_id = o.id AND g.status = 'RUNNING')
    AND NOT EXISTS (SELECT FROM findings x WHERE x.subject_id = e.id AND x.status <> 'RESOLVED')"""
"""Nothing of the order's money is on its way, unknown, or in doubt."""

_RELEASED_AFTER: Final = """
greatest(o.state_since, (SELECT max(m.completed_at) FROM milestones m WHERE m.order_id = o.id))
"""
_QUERIES: Final[Mapping[Name, str]] = {
    "autoRelease": f"""
    SELECT o.id, {_RELEASED_AFTER} AS since
    FROM orders o JOIN escrows e ON e.order_id = o.id AND e.status = 'FUNDED'
    WHERE o.marketplace_id = p.marketplace_id AND o.status = 'IN_PROGRESS'
        AND ($3::text IS NULL OR o.id = $3)
        AND o.state_since <= $1::timestamptz - make_interval(hours => p.span_hours)
        AND {_RELEASED_AFTER} <= $1::timestamptz - make_interval(hours => p.span_hours)
        AND NOT EXISTS (SELECT FROM milestones m WHERE m.order_id = o.id AND m.status = 'OPEN')
        AND NOT EXISTS (SELECT FROM disputes d WHERE d.order_id = o.id)
        AND {_CALM} AND {_NOT_FIRED.format(name="autoRelease", id="o.id", since=_RELEASED_AFTER)}
    ORDER BY o.state_since""",
    "autoCancelUnfunded": f"""
    SELECT o.id, greatest(o.state_since, e.state_since) AS since
    FROM orders o LEFT JOIN escrows e ON e.order_id = o.id
    WHERE o.marketplace_id = p.marketplace_id AND o.status IN ('ORDER_CREATED', 'FUNDS_RESERVED', 'ESCROW_FUNDING')
        AND ($3::text IS NULL OR o.id = $3)
        AND o.status <> 'CLOSED' AND (e.id IS NULL OR e.status = 'CREATED')
        AND o.state_since <= $1::timestamptz - make_interval(hours => p.span_hours)
        AND greatest(o.state_since, e.state_since) <= $1::timestamptz - make_interval(hours => p.span_hours)
        AND {_CALM}
        AND {_NOT_FIRED.format(name="autoCancelUnfunded", id="o.id", since="greatest(o.state_since, e.state_since)")}
    ORDER BY o.state_since""",
    "disputeDeadline": f"""
    SELECT d.id, d.created_at AS since FROM disputes d
    WHERE d.marketplace_id = p.marketplace_id AND d.status <> 'RESOLVED'
        AND ($3::text IS NULL OR d.id = $3)
        AND d.created_at <= $1::timestamptz - make_interval(hours => p.span_hours)
        AND NOT EXISTS (SELECT FROM sagas g WHERE g.subject_id = d.order_id AND g.status = 'RUNNING')
        AND {_NOT_FIRED.format(name="disputeDeadline", id="d.id", since="d.created_at")}
    ORDER BY d.created_at""",
    "topupExpiry": f"""
    SELECT u.id, u.state_since AS since FROM topups u
    WHERE u.marketplace_id = p.marketplace_id AND u.status = 'TOPUP_AWAITING_USER_CONFIRMATION'
        AND ($3::text IS NULL OR u.id = $3)
        AND u.state_since <= $1::timestamptz - make_interval(hours => p.span_hours)
        AND {_NOT_FIRED.format(name="topupExpiry", id="u.id", since="u.state_since")}
    ORDER BY u.state_since""",
}


async def due(tx: Tx, name: Name, now: datetime, limit: int, subject_id: str | None = None) -> list[Due]:
    """What of this policy is due at `now`, at most `limit` of each marketplace; or only whether this subject is."""
    rows = await tx.rows(_DUE.format(found=_QUERIES[name], name=name), now, limit, subject_id)
    return [Due(policy=name, **dict(row)) for row in rows]


async def fire(tx: Tx, one: Due, outcome: str) -> bool:
    """Write down that it has fired; False when it had before."""
    row = await tx.row(
        """
        INSERT INTO policy_firings (policy, subject_id, state_since, marketplace_id, due_at, outcome)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING policy
        """,
        one.policy,
        one.subject_id,
        one.state_since,
        one.marketplace_id,
        one.due_at,
        outcome,
    )
    return row is not None


async def lock(tx: Tx, marketplace_id: str, name: Name) -> None:
    """Nobody changes this policy until the transaction ends."""
    await tx.rows("SELECT FROM policies WHERE marketplace_id = $1 AND name = $2 FOR SHARE", marketplace_id, name)

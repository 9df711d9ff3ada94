"""The radar of what is stuck: everything that has not ended and is past its time, with its cause and what comes next.

Reads only. One query for each kind of thing; each walks an index over what has not ended, by state and age, and so
reads only what it answers, however much there is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from offerhub.access.service import require_operator
from offerhub.errors import invalid_field
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.operations import budgets
from offerhub.operations.budgets import Budget
from offerhub.operations.model import StuckAnswer, StuckItemAnswer, StuckQuery, StuckType
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.redaction import scrub

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 500
CAUSE_CHARACTERS_MAX: Final = 500

_STEP: Final = """
LEFT JOIN LATERAL (
    SELECT g.id AS saga_id, s.name AS step, s.status AS step_status, s.attempts, s.last_error,
        CASE WHEN g.lease_until > clock_timestamp() THEN g.lease_until ELSE g.next_attempt_at END AS next_at
    FROM sagas g JOIN saga_steps s ON s.saga_id = g.id
    WHERE g.subject_id = {subject} AND g.status = 'RUNNING' AND s.status <> 'SETTLED'
    ORDER BY g.created_at, s.position LIMIT 1
) carried ON true
"""
_NO_STEP: Final = """NULL AS saga_id, NULL AS step, NULL AS step_status, NULL::int AS attempts, NULL AS last_error,
    NULL::timestamptz AS next_at"""


def _late(table: str, since: str) -> str:
    """The rows of a table that are past the budget of their state. `$1` are the states, `$2` the moments before."""
    return (
        f"unnest($1::text[], $2::timestamptz[]) AS late (state, before)"
        f" JOIN {table} o ON o.status = late.state AND o.{since} < late.before"
    )


def _of(table: str, terminal: Sequence[str], *, subject: str = "o.id", note: str = "NULL", **more: str) -> str:
    """The query of a table with `state_since`; `more` are amount, order_id, join and where."""
    ended = ", ".join(f"'{state}'" for state in terminal)
    return f"""
    SELECT o.id, o.marketplace_id, o.status AS state, o.state_since AS since,
        {more.get("amount", "o.amount")} AS amount, {more.get("order_id", "NULL::text")} AS order_id, {note} AS note,
        saga_id, step, step_status, attempts, last_error, {more.get("next_at", "next_at")} AS next_at
    FROM {_late(table, "state_since")} {more.get("join", "")} {_STEP.format(subject=subject)}
    WHERE o.status NOT IN ({ended}) AND ($3::text IS NULL OR o.marketplace_id = $3) {more.get("where", "")}
    ORDER BY o.state_since LIMIT $4
    """


@dataclass(frozen=True, slots=True)
class Watch:
    """One kind of thing, the budgets of its states, and the query for what is past them."""

    type: StuckType
    budgets: Mapping[str, Budget]
    sql: str


_LOOK: Final = "coalesce(next_at, o.checked_at + interval '5 minutes')"
_ENDED: Final = ("WITHDRAWAL_COMPLETED", "WITHDRAWAL_FAILED", "WITHDRAWAL_CANCELED")

WATCHES: Final[Sequence[Watch]] = (
    Watch("Order", budgets.ORDER, _of("orders", ("CLOSED",), order_id="o.id")),
    Watch(
        "Escrow",
        budgets.ESCROW,
        _of("escrows", ("RELEASED", "REFUNDED"), subject="o.order_id", order_id="o.order_id"),
    ),
    Watch(
        "Dispute",
        budgets.DISPUTE,
        _of(
            *("disputes", ("RESOLVED",)),
            subject="o.order_id",
            order_id="o.order_id",
            amount="ordered.amount",
            join="JOIN orders ordered ON ordered.id = o.order_id",
        ),
    ),
    Watch(
        "TopUp",
        budgets.TOPUP,
        _of(
            "topups",
            ("TOPUP_SUCCEEDED", "TOPUP_FAILED", "TOPUP_CANCELED"),
            note="coalesce(o.fault, o.failure_reason)",
            next_at=_LOOK,
        ),
    ),
    Watch(
        "Withdrawal",
        budgets.ON_CHAIN,
        _of("withdrawals", _ENDED, note="o.failure_reason", where="AND o.destination_type = 'crypto'"),
    ),
    Watch(
        "Withdrawal",
        budgets.AT_AIRTM,
        _of(
            "withdrawals", _ENDED, note="o.failure_reason", where="AND o.destination_type <> 'crypto'", next_at=_LOOK
        ),
    ),
    Watch(
        "Saga",
        budgets.SAGA,
        f"""
        SELECT o.id, o.marketplace_id, o.status AS state, o.created_at AS since, NULL::bigint AS amount,
            NULL::text AS order_id, o.kind || ' of ' || o.subject_id AS note, carried.*
        FROM {_late("sagas", "created_at")} {_STEP.format(subject="o.subject_id")}
        WHERE o.status = 'RUNNING' AND ($3::text IS NULL OR o.marketplace_id = $3)
        ORDER BY o.created_at LIMIT $4
        """,
    ),
    Watch(
        "WebhookEvent",
        budgets.WEBHOOK,
        f"""
        SELECT o.provider || ' ' || o.event_id AS id, NULL::text AS marketplace_id, o.status AS state,
            o.received_at AS since, NULL::bigint AS amount, NULL::text AS order_id,
            coalesce(o.outcome, o.event_type) AS note, {_NO_STEP}
        FROM {_late("webhook_events", "received_at")}
        WHERE o.status IN ('RECEIVED', 'FAILED') AND $3::text IS NULL
        ORDER BY o.received_at LIMIT $4
        """,
    ),
    Watch(
        "Job",
        budgets.JOB,
        """
        SELECT o.id::text AS id, NULL::text AS marketplace_id, late.state, o.created_at AS since,
            NULL::bigint AS amount, NULL::text AS order_id,
            o.queue || ' ' || o.name || CASE WHEN o.enqueued = 0 THEN ', not handed over to Redis'
                ELSE ', handed over ' || o.enqueued || ' times' END || coalesce('. ' || l.reason, '') AS note,
            NULL AS saga_id, NULL AS step, NULL AS step_status, NULL::int AS attempts, NULL AS last_error,
            CASE WHEN o.enqueued_at IS NULL AND o.dead_at IS NULL THEN o.due_at END AS next_at
        FROM unnest($1::text[], $2::timestamptz[]) AS late (state, before)
        JOIN outbox o ON o.created_at < late.before AND o.due_at < late.before
            AND late.state = CASE WHEN o.dead_at IS NULL THEN 'WAITING' ELSE 'DEAD' END
        LEFT JOIN dead_letters l ON l.outbox_id = o.id
        WHERE $3::text IS NULL
        ORDER BY o.created_at LIMIT $4
        """,
    ),
)


@dataclass(frozen=True, slots=True)
class Radar:
    """What is past its time; `percent` of their length is what the budgets are."""

    percent: int = 100

    async def stuck(self, tx: Tx, actor: Actor, query: StuckQuery) -> StuckAnswer:
        """What is stuck, the oldest first. Raises InsufficientScope for whoever is no operator, ValidationFailed."""
        require_operator(actor)
        now: datetime = await tx.value("SELECT clock_timestamp()")
        limit = LIMIT_DEFAULT if query.limit is None else min(query.limit, LIMIT_MAX)
        if limit < 1:
            raise invalid_field("limit", "limit must be at least 1")
        found: list[tuple[datetime, StuckItemAnswer]] = []
        is_cut = False
        for watch in WATCHES:
            if query.type is None or query.type == watch.type:
                rows = await self._rows(tx, watch, now, query.marketplaceId, limit + 1)
                is_cut = is_cut or len(rows) > limit
                found += [(row["since"], _item(watch, row, now, self.percent)) for row in rows]
        # What a saga carries tells of it; a saga of its own is told where nothing else does.
        told = {item.sagaId for _, item in found if item.type != "Saga"}
        found = sorted((one for one in found if one[1].id not in told), key=lambda one: one[0])
        items = [item for _, item in found[:limit]]
        return StuckAnswer(items=items, hasMore=is_cut or len(found) > limit, checkedAt=to_wire(now))

    async def counts(self, tx: Tx) -> dict[str, int]:
        """How much is stuck by type, of each type up to LIMIT_MAX; what a saga carries is counted on both sides."""
        now: datetime = await tx.value("SELECT clock_timestamp()")
        return {watch.type: len(await self._rows(tx, watch, now, None, LIMIT_MAX)) for watch in WATCHES}

    async def _rows(self, tx: Tx, watch: Watch, now: datetime, marketplace_id: str | None, limit: int) -> list[Row]:
        states = list(watch.budgets)
        # Moments and not spans: an index is walked to a value.
        before = [now - timedelta(seconds=budget.seconds * self.percent / 100) for budget in watch.budgets.values()]
        return await tx.rows(watch.sql, states, before, marketplace_id, limit)


def _item(watch: Watch, row: Row, now: datetime, percent: int) -> StuckItemAnswer:
    budget = watch.budgets[row["state"]]
    moving, waits_for, next_step = row["saga_id"] is not None, budget.waits_for, budget.next_step
    if watch.type == "Escrow" and budget.waits_for == "SYSTEM" and not moving:
        waits_for, next_step = (
            "OPERATOR",
            "None: no saga carries it. Keep its log lines, run `offerhub prove`, report it.",
        )
    if moving and waits_for != "SYSTEM":
        waits_for, next_step = "SYSTEM", budgets.SAGA["RUNNING"].next_step
    next_at = row["next_at"]
    return StuckItemAnswer(
        type=watch.type,
        id=row["id"],
        marketplaceId=row["marketplace_id"],
        orderId=row["order_id"],
        state=row["state"],
        since=to_wire(row["since"]),
        ageSeconds=max(0, int((now - row["since"]).total_seconds())),
        budgetSeconds=int(budget.seconds * percent / 100),
        amount=None if row["amount"] is None else format_amount(row["amount"]),
        cause=_cause(budget, row),
        waitsFor=waits_for,
        nextStep=next_step,
        nextStepAt=None if next_at is None else to_wire(next_at),
        sagaId=row["saga_id"],
    )


def _cause(budget: Budget, row: Row) -> str:
    """What is known, in words: the state, the step that is not done with its last error, what was noted besides."""
    told = [budget.cause]
    if row["saga_id"] is not None:
        told.append(f"Step {row['step']} is {row['step_status']} after {row['attempts']} attempts.")
        if row["last_error"]:
            told.append(f"Its last error: {row['last_error']}")
    if row["note"]:
        told.append(str(row["note"]))
    return scrub(" ".join(told))[:CAUSE_CHARACTERS_MAX]

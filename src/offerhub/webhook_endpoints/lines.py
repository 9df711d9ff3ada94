"""All SQL of deliveries and the lines that they stand in.

An endpoint has a line for every aggregate: its pending deliveries, in the order of the aggregate's events. Only the
head of a line has a `due_at`, and a unique index lets it have no second one, so that an event never overtakes an
earlier one of its aggregate. Whoever changes a line holds the lock of its endpoint (`store.lock`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from offerhub.kernel.ids import new_id
from offerhub.kernel.pages import Page
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.paging import fetch
from offerhub.webhook_endpoints.delivery import Delivery
from offerhub.webhook_endpoints.model import ListWebhookDeliveries

_SELECT: Final = """
SELECT id, endpoint_id, event_id, event_type, aggregate_type, aggregate_id, status, attempts, due_at, created_at,
    ended_at
FROM webhook_deliveries
"""


@dataclass(frozen=True, slots=True)
class Line:
    """The line of one endpoint for one aggregate."""

    endpoint_id: str
    aggregate_type: str
    aggregate_id: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """An event that is to go to an endpoint."""

    endpoint_id: str
    marketplace_id: str
    event_id: str
    event_type: str
    aggregate_type: str
    aggregate_id: str
    sequence: int

    @property
    def line(self) -> Line:
        """Where its delivery stands."""
        return Line(self.endpoint_id, self.aggregate_type, self.aggregate_id)

    def row(self) -> dict[str, Any]:
        """The new delivery, as JSON."""
        return {
            "id": new_id("whd"),
            "marketplace_id": self.marketplace_id,
            "endpoint_id": self.endpoint_id,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "aggregate_type": self.aggregate_type,
            "aggregate_id": self.aggregate_id,
            "sequence": self.sequence,
        }


def _delivery(row: Row) -> Delivery:
    return Delivery(*row.values())


async def moment(tx: Tx) -> datetime:
    """The database's time, which all workers share."""
    now: datetime = await tx.value("SELECT clock_timestamp()")
    return now


_INSERT: Final = """
INSERT INTO webhook_deliveries AS d (id, marketplace_id, endpoint_id, event_id, event_type, aggregate_type,
    aggregate_id, sequence)
SELECT id, marketplace_id, endpoint_id, event_id, event_type, aggregate_type, aggregate_id, sequence
FROM jsonb_to_recordset($1) AS w (id text, marketplace_id text, endpoint_id text, event_id text, event_type text,
    aggregate_type text, aggregate_id text, sequence integer)
ON CONFLICT (endpoint_id, event_id)
"""


async def add(tx: Tx, wanted: Sequence[Wanted], now: datetime) -> int:
    """Queue what is not queued yet; returns how many that were. The caller holds the endpoints' locks."""
    added = await tx.execute(f"{_INSERT} DO NOTHING", [one.row() for one in wanted])
    await set_heads(tx, (one.line for one in wanted), now)
    return added


async def again(tx: Tx, wanted: Sequence[Wanted], now: datetime, *, delivered_too: bool) -> list[str]:
    """Queue anew what is not queued yet, or has ended, or waits for its next attempt; returns the deliveries' ids.

    What has been delivered is left alone unless `delivered_too`. The caller holds the endpoints' locks.
    """
    rows = await tx.rows(
        f"""
        {_INSERT} DO UPDATE SET status = 'PENDING', tries = 0, due_at = NULL, ended_at = NULL
        WHERE $2 OR d.status <> 'DELIVERED' RETURNING d.id
        """,
        [one.row() for one in wanted],
        delivered_too,
    )
    await set_heads(tx, (one.line for one in wanted), now)
    return [row["id"] for row in rows]


async def set_heads(tx: Tx, lines: Iterable[Line], now: datetime) -> None:
    """Let the first pending delivery of each line be its head, due now unless it is the head already."""
    distinct = dict.fromkeys(lines)
    keys = (
        [line.endpoint_id for line in distinct],
        [line.aggregate_type for line in distinct],
        [line.aggregate_id for line in distinct],
    )
    await tx.execute(
        """
        UPDATE webhook_deliveries d SET due_at = NULL
        FROM unnest($1::text[], $2::text[], $3::text[]) AS l (endpoint_id, aggregate_type, aggregate_id)
        WHERE d.endpoint_id = l.endpoint_id AND d.aggregate_type = l.aggregate_type
            AND d.aggregate_id = l.aggregate_id AND d.due_at IS NOT NULL
            AND EXISTS (SELECT FROM webhook_deliveries e
                WHERE e.endpoint_id = l.endpoint_id AND e.aggregate_type = l.aggregate_type
                    AND e.aggregate_id = l.aggregate_id AND e.status = 'PENDING' AND e.sequence < d.sequence)
        """,
        *keys,
    )
    await tx.execute(
        """
        UPDATE webhook_deliveries d SET due_at = $4
        FROM unnest($1::text[], $2::text[], $3::text[]) AS l (endpoint_id, aggregate_type, aggregate_id)
        CROSS JOIN LATERAL (
            SELECT e.id FROM webhook_deliveries e
            WHERE e.endpoint_id = l.endpoint_id AND e.aggregate_type = l.aggregate_type
                AND e.aggregate_id = l.aggregate_id AND e.status = 'PENDING'
            ORDER BY e.sequence LIMIT 1
        ) AS head
        WHERE d.id = head.id AND d.due_at IS NULL
        """,
        *keys,
        now,
    )


async def end(tx: Tx, delivery_id: str, status: str, now: datetime) -> None:
    """End a pending delivery; the next in its line becomes the head."""
    row = await tx.row(
        """
        UPDATE webhook_deliveries SET status = $2, due_at = NULL, ended_at = $3 WHERE id = $1 AND status = 'PENDING'
        RETURNING endpoint_id, aggregate_type, aggregate_id
        """,
        delivery_id,
        status,
        now,
    )
    if row is not None:
        await set_heads(tx, [Line(*row.values())], now)


async def put_off(tx: Tx, delivery_id: str, until: datetime) -> None:
    """Let the head of a line be tried again then."""
    await tx.execute(
        "UPDATE webhook_deliveries SET tries = tries + 1, due_at = $2 WHERE id = $1 AND due_at IS NOT NULL",
        delivery_id,
        until,
    )


async def get(tx: Tx, marketplace_id: str, endpoint_id: str, delivery_id: str) -> Delivery | None:
    """A delivery of the marketplace's endpoint."""
    row = await tx.row(
        f"{_SELECT} WHERE id = $1 AND endpoint_id = $2 AND marketplace_id = $3",
        delivery_id,
        endpoint_id,
        marketplace_id,
    )
    return None if row is None else _delivery(row)


async def of_event(tx: Tx, endpoint_id: str, event_id: str) -> Delivery:
    """The delivery of this event to this endpoint, which must exist."""
    return _delivery(await tx.one(f"{_SELECT} WHERE endpoint_id = $1 AND event_id = $2", endpoint_id, event_id))


async def page(tx: Tx, marketplace_id: str, endpoint_id: str, query: ListWebhookDeliveries) -> Page:
    """One page of an endpoint's deliveries, newest first. Raises ValidationFailed for an unknown cursor."""
    filters = {
        "endpoint_id": endpoint_id,
        "status": query.status,
        "event_type": query.eventType,
        "event_id": query.eventId,
        "created_at >= ?": query.since,
        "created_at < ?": query.until,
    }
    found = await fetch(tx, marketplace_id, _SELECT, "webhook_deliveries", filters, query)
    return Page([_delivery(row) for row in found.items], found.next_cursor)


async def with_work(tx: Tx, now: datetime, job_seconds: float, limit: int) -> list[str]:
    """Endpoints to send to now, for which no job is on its way; from now on one is, for so long at most."""
    rows = await tx.rows(
        """
        UPDATE webhook_senders s SET queued_until = clock_timestamp() + make_interval(secs => $2)
        FROM (
            SELECT e.id FROM webhook_endpoints e JOIN webhook_senders w ON w.endpoint_id = e.id
            WHERE e.status = 'ENABLED' AND e.kind = 'PUSH' AND w.lease_until <= clock_timestamp()
                AND w.queued_until <= clock_timestamp() AND w.resting_until <= $1
                AND EXISTS (SELECT FROM webhook_deliveries d WHERE d.endpoint_id = e.id AND d.due_at <= $1)
            ORDER BY e.id LIMIT $3 FOR NO KEY UPDATE OF w SKIP LOCKED
        ) AS work
        WHERE s.endpoint_id = work.id RETURNING s.endpoint_id
        """,
        now,
        job_seconds,
        limit,
    )
    return [row["endpoint_id"] for row in rows]


async def cancel_waiting(tx: Tx, endpoint_id: str) -> None:
    """End all that waits for an endpoint whose lock the caller holds."""
    await tx.execute(
        """
        UPDATE webhook_deliveries SET status = 'CANCELED', due_at = NULL, ended_at = clock_timestamp()
        WHERE endpoint_id = $1 AND status = 'PENDING'
        """,
        endpoint_id,
    )


async def cancel_stopped(tx: Tx, limit: int) -> int:
    """End a batch of what waits for endpoints that take nothing any more; returns how many."""
    return await tx.execute(
        """
        WITH stopped AS MATERIALIZED (
            SELECT id FROM webhook_endpoints e
            WHERE status <> 'ENABLED'
                AND EXISTS (SELECT FROM webhook_deliveries WHERE endpoint_id = e.id AND status = 'PENDING')
            LIMIT 10 FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE webhook_deliveries SET status = 'CANCELED', due_at = NULL, ended_at = clock_timestamp()
        WHERE id IN (
            SELECT d.id FROM stopped JOIN webhook_deliveries d ON d.endpoint_id = stopped.id
            WHERE d.status = 'PENDING' LIMIT $1)
        """,
        limit,
    )


async def purge(tx: Tx, days: int, limit: int) -> int:
    """Forget a batch of deliveries that ended so long ago, with their attempts; returns how many."""
    return await tx.execute(
        """
        DELETE FROM webhook_deliveries WHERE id IN (
            SELECT id FROM webhook_deliveries WHERE ended_at < clock_timestamp() - make_interval(days => $1)
            ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        """,
        days,
        limit,
    )

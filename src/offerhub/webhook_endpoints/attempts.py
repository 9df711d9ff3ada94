"""All SQL of attempts at deliveries, and of whoever makes them.

An attempt is written down before it is made. A sender that dies leaves it behind as `SENDING`; the next attempt makes
it `UNKNOWN`, and the event is sent again under the same id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from offerhub.events import store as log_of_events
from offerhub.kernel.clock import to_wire
from offerhub.runtime.database import Row, Tx
from offerhub.webhook_endpoints.delivery import Claimed, Result
from offerhub.webhook_endpoints.model import WebhookAttemptAnswer

SHOWN_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an endpoint as one that is sent to."""

    failures: int
    failing_since: datetime | None
    warned_at: datetime | None


async def take_lease(tx: Tx, endpoint_id: str, seconds: float) -> int | None:
    """Become the one that sends to this endpoint; returns our term's number, None while somebody else sends."""
    term: int | None = await tx.value(
        """
        UPDATE webhook_senders
        SET lease_until = clock_timestamp() + make_interval(secs => $2), term = term + 1, queued_until = '-infinity'
        WHERE endpoint_id = $1 AND lease_until <= clock_timestamp() RETURNING term
        """,
        endpoint_id,
        seconds,
    )
    return term


async def renew_lease(tx: Tx, endpoint_id: str, term: int, seconds: float, now: datetime) -> str | None:
    """Go on sending in our term; returns the endpoint's URL, None when there is nothing to send to now."""
    url: str | None = await tx.value(
        """
        UPDATE webhook_senders s SET lease_until = clock_timestamp() + make_interval(secs => $3)
        FROM webhook_endpoints e
        WHERE s.endpoint_id = $1 AND s.term = $2 AND s.resting_until <= $4 AND e.id = s.endpoint_id
            AND e.status = 'ENABLED'
        RETURNING e.url
        """,
        endpoint_id,
        term,
        seconds,
        now,
    )
    return url


async def give_lease_back(tx: Tx, endpoint_id: str, term: int) -> None:
    """Let another send at once."""
    await tx.execute(
        "UPDATE webhook_senders SET lease_until = '-infinity' WHERE endpoint_id = $1 AND term = $2", endpoint_id, term
    )


async def claim(tx: Tx, endpoint_id: str, now: datetime, limit: int, underway: Sequence[str]) -> list[Claimed]:
    """Begin an attempt at each of the next deliveries that are due and not under way."""
    rows = await tx.rows(
        """
        WITH due AS (
            SELECT id FROM webhook_deliveries WHERE endpoint_id = $1 AND due_at <= $2 AND id <> ALL ($4)
            ORDER BY due_at, id LIMIT $3 FOR NO KEY UPDATE
        ), claimed AS (
            UPDATE webhook_deliveries d SET attempts = attempts + 1 FROM due WHERE d.id = due.id
            RETURNING d.id, d.attempts, d.event_id, d.event_type, d.sequence
        ), cut_off AS (
            UPDATE webhook_attempts a SET outcome = 'UNKNOWN' FROM claimed
            WHERE a.delivery_id = claimed.id AND a.outcome = 'SENDING'
        ), begun AS (
            INSERT INTO webhook_attempts (delivery_id, number, started_at) SELECT id, attempts, $2 FROM claimed
        )
        SELECT id, attempts, event_id, event_type FROM claimed ORDER BY sequence, id
        """,
        endpoint_id,
        now,
        limit,
        list(underway),
    )
    events = await log_of_events.by_id(tx, [row["event_id"] for row in rows]) if rows else {}
    return [
        Claimed(row["id"], row["attempts"], row["event_id"], row["event_type"], events[row["event_id"]].json())
        for row in rows
    ]


async def record(tx: Tx, endpoint_id: str, result: Result) -> tuple[str, int, int] | None:
    """Write down what came of an attempt; returns its delivery's status, attempts and tries."""
    row = await tx.row(
        """
        WITH told AS (
            UPDATE webhook_attempts SET outcome = $4, url = $5, request_headers = $6, response_status = $7,
                response_headers = $8, response_body = $9, is_cut = $10, duration_ms = $11, error = $12
            WHERE delivery_id = $1 AND number = $2 AND outcome IN ('SENDING', 'UNKNOWN')
                AND EXISTS (SELECT FROM webhook_deliveries WHERE id = $1 AND endpoint_id = $3)
            RETURNING delivery_id
        )
        SELECT d.status, d.attempts, d.tries FROM webhook_deliveries d JOIN told ON told.delivery_id = d.id
        """,
        result.delivery_id,
        result.attempt,
        endpoint_id,
        "DELIVERED" if result.is_delivered else "FAILED",
        result.url,
        _plain(result.request_headers),
        result.status,
        _plain(result.response_headers),
        result.response_body,
        result.is_cut,
        result.duration_ms,
        result.error,
    )
    return None if row is None else (row["status"], row["attempts"], row["tries"])


def _plain(headers: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if headers is None else dict(headers)


async def body_of(tx: Tx, event_id: str) -> bytes:
    """What is sent for this event, which must exist."""
    return (await log_of_events.by_id(tx, [event_id]))[event_id].json()


async def of_delivery(tx: Tx, delivery_id: str) -> list[WebhookAttemptAnswer]:
    """The last attempts at a delivery, the latest first."""
    rows = await tx.rows(
        """
        SELECT number, outcome, started_at, url, request_headers, response_status, response_headers, response_body,
            is_cut, duration_ms, error
        FROM webhook_attempts WHERE delivery_id = $1 ORDER BY number DESC LIMIT $2
        """,
        delivery_id,
        SHOWN_MAX,
    )
    return [_attempt(row) for row in rows]


def _attempt(row: Row) -> WebhookAttemptAnswer:
    return WebhookAttemptAnswer(
        number=row["number"],
        outcome=row["outcome"],
        startedAt=to_wire(row["started_at"]),
        durationMs=row["duration_ms"],
        url=row["url"],
        requestHeaders=row["request_headers"],
        responseStatus=row["response_status"],
        responseHeaders=row["response_headers"],
        responseBody=row["response_body"],
        responseCut=row["is_cut"],
        error=row["error"],
    )


# -- how an endpoint is doing ----------------------------------------------------------------------------------


async def note_success(tx: Tx, endpoint_id: str) -> None:
    """Something has arrived: the endpoint's record is clean again."""
    await tx.execute(
        """
        UPDATE webhook_senders
        SET failures = 0, failing_since = NULL, warned_at = NULL, resting_until = '-infinity'
        WHERE endpoint_id = $1 AND (failures > 0 OR resting_until <> '-infinity')
        """,
        endpoint_id,
    )


async def note_failure(tx: Tx, endpoint_id: str, now: datetime) -> Standing:
    """One more attempt has failed; returns how the endpoint stands now."""
    row = await tx.one(
        """
        UPDATE webhook_senders
        SET failures = least(failures + 1, 1000000), failing_since = coalesce(failing_since, $2)
        WHERE endpoint_id = $1 RETURNING failures, failing_since, warned_at
        """,
        endpoint_id,
        now,
    )
    return Standing(*row.values())


async def let_rest(tx: Tx, endpoint_id: str, until: datetime) -> None:
    """Try nothing at the endpoint before then."""
    await tx.execute(
        "UPDATE webhook_senders SET resting_until = greatest(resting_until, $2) WHERE endpoint_id = $1",
        endpoint_id,
        until,
    )


async def end_rest(tx: Tx, endpoint_id: str) -> None:
    """Somebody wants it tried now."""
    await tx.execute("UPDATE webhook_senders SET resting_until = '-infinity' WHERE endpoint_id = $1", endpoint_id)


async def note_warning(tx: Tx, endpoint_id: str, now: datetime) -> None:
    """The marketplace has been told that the endpoint fails."""
    await tx.execute("UPDATE webhook_senders SET warned_at = $2 WHERE endpoint_id = $1", endpoint_id, now)


async def note_fetch(tx: Tx, endpoint_id: str) -> None:
    """A listener was here."""
    await tx.execute("UPDATE webhook_senders SET fetched_at = clock_timestamp() WHERE endpoint_id = $1", endpoint_id)


async def forgotten_listeners(tx: Tx, hours: int, limit: int) -> list[tuple[str, str]]:
    """Marketplace and id of endpoints that fetch, but have not done so for this long; locked."""
    rows = await tx.rows(
        """
        SELECT e.marketplace_id, e.id FROM webhook_endpoints e JOIN webhook_senders s ON s.endpoint_id = e.id
        WHERE e.kind = 'PULL' AND e.status <> 'DELETED'
            AND s.fetched_at < clock_timestamp() - make_interval(hours => $1)
        LIMIT $2 FOR NO KEY UPDATE OF e SKIP LOCKED
        """,
        hours,
        limit,
    )
    return [(row["marketplace_id"], row["id"]) for row in rows]

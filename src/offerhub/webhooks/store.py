"""All SQL of the inbox."""

from collections.abc import Sequence
from typing import Final

from offerhub.runtime.database import Row, Tx
from offerhub.webhooks.model import Provider, WebhookEvent

OUTCOME_CHARACTERS_MAX: Final = 500

Key = tuple[Provider, str]
"""A provider, and its id of an event."""


def _event(row: Row) -> WebhookEvent:
    return WebhookEvent(row["provider"], row["event_id"], row["event_type"], row["subject"], row["status"])


async def get(tx: Tx, keys: Sequence[Key]) -> dict[Key, WebhookEvent]:
    """Events of the inbox, by provider and event id."""
    rows = await tx.rows(
        """
        SELECT e.provider, e.event_id, e.event_type, e.subject, e.status
        FROM unnest($1::text[], $2::text[]) AS asked (provider, event_id)
        JOIN webhook_events e ON e.provider = asked.provider AND e.event_id = asked.event_id
        """,
        [provider for provider, _ in keys],
        [event_id for _, event_id in keys],
    )
    return {(row["provider"], row["event_id"]): _event(row) for row in rows}


async def end(tx: Tx, ended: Sequence[tuple[WebhookEvent, str, str]]) -> None:
    """Say what became of events, each with its new status and outcome; those that have ended already stay."""
    await tx.execute(
        """
        UPDATE webhook_events e SET status = ended.status, outcome = ended.outcome,
            processed_at = CASE WHEN ended.status IN ('PROCESSED', 'IGNORED') THEN clock_timestamp() END
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS ended (provider, event_id, status, outcome)
        WHERE e.provider = ended.provider AND e.event_id = ended.event_id AND e.status IN ('RECEIVED', 'FAILED')
        """,
        [event.provider for event, _, _ in ended],
        [event.event_id for event, _, _ in ended],
        [status for _, status, _ in ended],
        [outcome[:OUTCOME_CHARACTERS_MAX] for _, _, outcome in ended],
    )


async def purge(tx: Tx, days: int, limit: int) -> int:
    """Forget a batch of events that ended this long ago; returns how many."""
    return await tx.execute(
        """
        DELETE FROM webhook_events WHERE (provider, event_id) IN (
            SELECT provider, event_id FROM webhook_events
            WHERE received_at < clock_timestamp() - make_interval(days => $1) AND status IN ('PROCESSED', 'IGNORED')
            ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        """,
        days,
        limit,
    )

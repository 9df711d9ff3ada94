"""All SQL of the inbox."""

from offerhub.runtime.database import Row, Tx
from offerhub.webhooks.model import Provider, WebhookEvent


def _event(row: Row) -> WebhookEvent:
    return WebhookEvent(row["provider"], row["event_id"], row["event_type"], row["subject"], row["status"])


async def get(tx: Tx, provider: Provider, event_id: str) -> WebhookEvent | None:
    """An event of the inbox."""
    row = await tx.row(
        """
        SELECT provider, event_id, event_type, subject, status FROM webhook_events
        WHERE provider = $1 AND event_id = $2
        """,
        provider,
        event_id,
    )
    return None if row is None else _event(row)


async def end(tx: Tx, event: WebhookEvent, status: str, outcome: str) -> None:
    """Say what became of an event; one that has ended already stays as it is."""
    await tx.execute(
        """
        UPDATE webhook_events SET status = $3, outcome = $4,
            processed_at = CASE WHEN $3 IN ('PROCESSED', 'IGNORED') THEN clock_timestamp() END
        WHERE provider = $1 AND event_id = $2 AND status IN ('RECEIVED', 'FAILED')
        """,
        event.provider,
        event.event_id,
        status,
        outcome[:500],
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

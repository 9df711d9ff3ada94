"""Sending again: one delivery, or what happened in a time."""

from datetime import timedelta
from typing import Final

from offerhub.errors import invalid_field
from offerhub.events import service as events
from offerhub.events import store as log_of_events
from offerhub.events.journal import AuditEntry, record
from offerhub.events.model import Wanted, cut
from offerhub.kernel.clock import to_wire
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.webhook_endpoints import attempts, lines, service
from offerhub.webhook_endpoints.delivery import Delivery
from offerhub.webhook_endpoints.filtering import is_sent_to, wanted_by
from offerhub.webhook_endpoints.model import RedeliveredAnswer, RedeliverWebhooks

BATCH_EVENTS: Final = 1_000
"""How many events one request looks at; the next goes on behind them."""


async def redeliver(tx: Tx, actor: Actor, endpoint_id: str, delivery_id: str) -> Delivery:
    """Send a delivery again, now, whatever has become of it; after earlier ones of its aggregate that wait.

    Raises WebhookEndpointNotFound, WebhookDeliveryNotFound, InvalidState for an endpoint that is not enabled.
    """
    await service.require_enabled(tx, actor, endpoint_id)
    delivery = await service.require_delivery(tx, actor, endpoint_id, delivery_id)
    event = (await log_of_events.by_id(tx, [delivery.event_id]))[delivery.event_id]
    endpoint = await service.require(tx, actor, endpoint_id)
    await lines.again(tx, [wanted_by(endpoint, event)], await lines.moment(tx), delivered_too=True)
    await attempts.end_rest(tx, endpoint_id)
    entry = AuditEntry("WEBHOOK_REDELIVERED", service.RESOURCE, endpoint_id, None, {"deliveryId": delivery_id})
    await record(tx, actor, audit=[entry])
    return await service.require_delivery(tx, actor, endpoint_id, delivery_id)


async def redeliver_range(tx: Tx, actor: Actor, endpoint_id: str, wanted: RedeliverWebhooks) -> RedeliveredAnswer:
    """Send again what happened in a time, one batch of events. Raises as `redeliver`, and ValidationFailed."""
    endpoint = await service.require_enabled(tx, actor, endpoint_id)
    now = await lines.moment(tx)
    until = wanted.until or now
    if until <= wanted.since:
        raise invalid_field("until", "until must be later than since")
    behind = cut(wanted.since) - timedelta(milliseconds=1)
    if wanted.cursor is not None:
        cursor = await events.resolve(tx, actor.marketplace_id, wanted.cursor)
        if cursor is None:
            raise invalid_field("cursor", "cursor must be the nextCursor of an earlier answer, or the id of an event")
        behind = max(behind, cursor)
    everything = Wanted(actor.marketplace_id)
    head = await log_of_events.head(tx)
    found, behind, more = await log_of_events.matching(tx, everything, behind, head, BATCH_EVENTS)
    chosen = [wanted_by(endpoint, event) for event in found if event.at < until and is_sent_to(endpoint, event)]
    queued = await lines.again(tx, chosen, now, delivered_too=wanted.only == "all")
    await attempts.end_rest(tx, endpoint_id)
    told = {"since": to_wire(wanted.since), "until": to_wire(until), "only": wanted.only, "queued": len(queued)}
    await record(tx, actor, audit=[AuditEntry("WEBHOOKS_REDELIVERED", service.RESOURCE, endpoint_id, None, told)])
    return RedeliveredAnswer(queued=len(queued), nextCursor=to_wire(behind) if more and behind < until else None)

"""What an attempt's outcome changes: the delivery, its line, and how the endpoint stands.

A delivery that arrived has arrived, even if somebody else has begun the next attempt meanwhile. One that failed is
put off, or given up after the last attempt. An endpoint that says 410 is disabled at once; one at which everything
fails is warned about after a third of the time after which it is disabled.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from offerhub.events.journal import Event, record
from offerhub.kernel.clock import to_wire
from offerhub.runtime.actor import system
from offerhub.runtime.database import Tx
from offerhub.webhook_endpoints import attempts, lines, service, store
from offerhub.webhook_endpoints.attempts import Standing
from offerhub.webhook_endpoints.delivery import Result
from offerhub.webhook_endpoints.model import FAILING_EVENT, DisabledReason, Endpoint
from offerhub.webhook_endpoints.schedule import next_attempt, rest_seconds

log = structlog.get_logger("offerhub.webhook_endpoints")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an endpoint may fail before it is disabled."""

    disable_after: timedelta

    @property
    def warn_after(self) -> timedelta:
        """How long before the marketplace is told."""
        return self.disable_after / 3


async def settle(tx: Tx, endpoint_id: str, result: Result, now: datetime, patience: Patience) -> None:
    """Write down what came of an attempt. No effect the second time."""
    endpoint = (await store.lock_all(tx, [endpoint_id])).get(endpoint_id)
    told = await attempts.record(tx, endpoint_id, result)
    if endpoint is None or told is None:
        return
    status, latest, tries = told
    if result.is_delivered:
        await attempts.note_success(tx, endpoint_id)
        if status == "PENDING":
            await lines.end(tx, result.delivery_id, "DELIVERED", now)
        return
    # A listener is somebody at work: it is neither spared nor disabled.
    is_gone = result.is_gone and endpoint.kind == "PUSH"
    if status == "PENDING" and latest == result.attempt:
        until = None if is_gone else next_attempt(tries + 1, now, result.asked_seconds)
        if until is None:
            await lines.end(tx, result.delivery_id, "FAILED", now)
        else:
            await lines.put_off(tx, result.delivery_id, until)
    if endpoint.kind == "PUSH":
        await _judge(tx, endpoint, result, now, patience)


async def _judge(tx: Tx, endpoint: Endpoint, result: Result, now: datetime, patience: Patience) -> None:
    standing = await attempts.note_failure(tx, endpoint.id, now)
    rest = rest_seconds(standing.failures, result.asked_seconds)
    if rest:
        await attempts.let_rest(tx, endpoint.id, now + timedelta(seconds=rest))
    if endpoint.status != "ENABLED":
        return
    assert standing.failing_since is not None
    failing = now - standing.failing_since
    if result.is_gone:
        await _disable(tx, endpoint, "gone")
    elif failing >= patience.disable_after:
        await _disable(tx, endpoint, "failing")
    elif failing >= patience.warn_after and standing.warned_at is None:
        await _warn(tx, endpoint, standing, now, patience)


async def _disable(tx: Tx, endpoint: Endpoint, reason: DisabledReason) -> None:
    log.warning("webhook_endpoint_disabled", endpoint=endpoint.id, reason=reason)
    await service.disable(tx, system(endpoint.marketplace_id, "webhooks"), endpoint, reason)


async def _warn(tx: Tx, endpoint: Endpoint, standing: Standing, now: datetime, patience: Patience) -> None:
    assert standing.failing_since is not None
    payload = {
        "endpointId": endpoint.id,
        "url": endpoint.url,
        "failingSince": to_wire(standing.failing_since),
        "disabledAfter": to_wire(standing.failing_since + patience.disable_after),
    }
    await attempts.note_warning(tx, endpoint.id, now)
    event = Event(FAILING_EVENT, service.RESOURCE, endpoint.id, payload)
    await record(tx, system(endpoint.marketplace_id, "webhooks"), events=[event])

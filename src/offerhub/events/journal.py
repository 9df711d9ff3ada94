"""The journal: events, audit entries and jobs, written with their cause in one round trip (design 7, 8).

Nothing is emitted from memory after a commit: a change that is committed has its event, its audit entry and its
job; one that is rolled back has none. Writers of one aggregate take turns, so its events are numbered without gaps.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from offerhub.kernel.ids import new_id
from offerhub.runtime import spans
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.runtime.jobs import Priority
from offerhub.runtime.redaction import redact

Result = Literal["SUCCESS", "FAILURE", "DISCREPANCY_FOUND"]
AggregateType = Literal[
    "User", "Wallet", "Balance", "TopUp", "Order", "Escrow", "Withdrawal", "Dispute", "ApiKey", "WebhookEndpoint"
]


class Event(msgspec.Struct, frozen=True):
    """One event of the catalogue (contract 6.2); amounts in the payload are wire text."""

    type: str
    aggregate_type: AggregateType
    aggregate_id: str
    payload: Mapping[str, Any]
    user_id: str | None = None


class AuditEntry(msgspec.Struct, frozen=True):
    """Who changed what (contract 6.3); payloads are redacted on the way in."""

    action: str
    resource_type: str
    resource_id: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    result: Result = "SUCCESS"
    user_id: str | None = None
    id: str | None = None


class Job(msgspec.Struct, frozen=True):
    """Work for the queue once this transaction has committed; its handler must be safe to run twice."""

    queue: str
    name: str
    payload: Mapping[str, Any]
    delay_seconds: float = 0.0
    priority: Priority = Priority.FIRST


_RECORD = "SELECT journal($1, $2, $3, $4, $5)"


async def record(
    tx: Tx,
    actor: Actor,
    *,
    events: Sequence[Event] = (),
    audit: Sequence[AuditEntry] = (),
    jobs: Sequence[Job] = (),
) -> None:
    """Write events, audit entries and jobs. Every event also leaves an audit entry named after its type."""
    if events:
        tx.rings.add("events")
    if any(job.delay_seconds == 0 for job in jobs):
        tx.rings.add("jobs")
    event_rows, audit_rows = rows(actor, events, audit)
    await tx.execute(_RECORD, actor.marketplace_id, actor.for_audit(), event_rows, audit_rows, job_rows(jobs))


Rows = list[dict[str, Any]]


def job_rows(jobs: Sequence[Job]) -> Rows:
    """Jobs as `journal` takes them, with the span that causes them where there is one."""
    carried = spans.carried()
    return [
        {
            "queue": job.queue,
            "name": job.name,
            "payload": {**job.payload, **carried},
            "delay_seconds": job.delay_seconds,
            "priority": int(job.priority),
        }
        for job in jobs
    ]


def rows(actor: Actor, events: Sequence[Event], audit: Sequence[AuditEntry]) -> tuple[Rows, Rows]:
    """Events and audit entries, those of the events included, as `journal` takes them."""
    metadata = {"marketplaceId": actor.marketplace_id}
    if actor.correlation_id is not None:
        metadata["correlationId"] = actor.correlation_id
    if actor.cause is not None:
        metadata["causationId"] = actor.cause
    event_rows = [
        {
            "id": new_id("evt"),
            "type": event.type,
            "aggregate_type": event.aggregate_type,
            "aggregate_id": event.aggregate_id,
            "payload": dict(event.payload),
            "metadata": metadata | ({"userId": event.user_id} if event.user_id else {}),
        }
        for event in events
    ]
    entries = [
        *audit,
        *(AuditEntry(e.type, e.aggregate_type, e.aggregate_id, after=e.payload, user_id=e.user_id) for e in events),
    ]
    audit_rows = [
        {
            "id": entry.id or new_id("aud"),
            "action": entry.action,
            "resource_type": entry.resource_type,
            "resource_id": entry.resource_id,
            "user_id": entry.user_id,
            "before": redact(entry.before),
            "after": redact(entry.after),
            "result": entry.result,
        }
        for entry in entries
    ]
    return event_rows, audit_rows

"""An entry of the audit trail, and what it may be searched by (contract 2.13, 6.3)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta

from offerhub.kernel.clock import to_wire
from offerhub.runtime.routes import Shape
from offerhub.runtime.vocabulary import AuditId, Timestamp

CREATING: Final = "[._](created|opened|issued)$"
"""Names of actions after which there is something new, as a regular expression without regard to case."""
DELETING: Final = "[._](revoked|deleted)$"
"""Names of actions after which something is gone for good."""


@dataclass(frozen=True, slots=True)
class Search:
    """Which entries are wanted; None matches all. Both ends of the time are included."""

    resource_type: str | None = None
    resource_id: str | None = None
    action: str | None = None
    user_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as stored, without where the caller was."""

    id: str
    occurred_at: datetime
    action: str
    resource_type: str
    resource_id: str
    user_id: str | None
    payload_before: Any
    payload_after: Any
    actor_type: str
    actor_id: str
    result: str
    correlation_id: str | None

    def wire(self) -> "AuditEntryAnswer":
        """The entry as it is answered."""
        return AuditEntryAnswer(
            id=self.id,
            occurredAt=to_wire(self.occurred_at),
            action=self.action,
            resourceType=self.resource_type,
            resourceId=self.resource_id,
            userId=self.user_id,
            payloadBefore=self.payload_before,
            payloadAfter=self.payload_after,
            actorType=self.actor_type,
            actorId=self.actor_id,
            result=self.result,
            correlationId=self.correlation_id,
        )


class AuditEntryAnswer(Shape):
    """Who did what to which resource. Personal data and secrets in the payloads are redacted."""

    id: AuditId
    occurredAt: Timestamp
    action: Annotated[str, Meta(examples=["ORDER_CREATED"])]
    resourceType: Annotated[str, Meta(examples=["Order"])]
    resourceId: Annotated[str, Meta(description="The id of the resource.")]
    userId: Annotated[str | None, Meta(description="The user whom it concerns.")]
    payloadBefore: Any
    payloadAfter: Any
    actorType: Annotated[str, Meta(examples=["API_KEY"])]
    actorId: Annotated[str, Meta(description="The credential, or the part of the system, that acted.")]
    result: Annotated[str, Meta(description="`SUCCESS`, `FAILURE` or `DISCREPANCY_FOUND`.", examples=["SUCCESS"])]
    correlationId: Annotated[str | None, Meta(description="The id of the request behind it.")]

"""An entry of the audit trail, and what it may be searched by (contract 2.13, 6.3)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from offerhub.kernel.clock import to_wire

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

    def wire(self) -> dict[str, Any]:
        """The entry as it is answered."""
        return {
            "id": self.id,
            "occurredAt": to_wire(self.occurred_at),
            "action": self.action,
            "resourceType": self.resource_type,
            "resourceId": self.resource_id,
            "userId": self.user_id,
            "payloadBefore": self.payload_before,
            "payloadAfter": self.payload_after,
            "actorType": self.actor_type,
            "actorId": self.actor_id,
            "result": self.result,
            "correlationId": self.correlation_id,
        }

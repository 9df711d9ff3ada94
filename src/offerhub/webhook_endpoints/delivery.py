"""A delivery, an attempt that is to be made at one, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offerhub.kernel.clock import to_wire
from offerhub.webhook_endpoints.model import (
    DeliveryStatus,
    FetchedDeliveryAnswer,
    WebhookAttemptAnswer,
    WebhookDeliveryAnswer,
    WebhookDeliveryDetailAnswer,
    optional_moment,
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery of one event to one endpoint, as stored."""

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    aggregate_type: str
    aggregate_id: str
    status: DeliveryStatus
    attempts: int
    due_at: datetime | None
    created_at: datetime
    ended_at: datetime | None

    def wire(self) -> WebhookDeliveryAnswer:
        """The delivery as it is answered."""
        return WebhookDeliveryAnswer(**self._told())

    def detailed(self, body: bytes, attempts: list[WebhookAttemptAnswer]) -> WebhookDeliveryDetailAnswer:
        """The delivery with what was sent and what came back."""
        return WebhookDeliveryDetailAnswer(**self._told(), requestBody=body.decode(), attemptLog=attempts)

    def _told(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "endpointId": self.endpoint_id,
            "eventId": self.event_id,
            "eventType": self.event_type,
            "aggregateType": self.aggregate_type,
            "aggregateId": self.aggregate_id,
            "status": self.status,
            "attempts": self.attempts,
            "nextAttemptAt": optional_moment(self.due_at),
            "createdAt": to_wire(self.created_at),
            "endedAt": optional_moment(self.ended_at),
        }


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is to be attempted now."""

    delivery_id: str
    attempt: int
    event_id: str
    event_type: str
    body: bytes

    def wire(self) -> FetchedDeliveryAnswer:
        """What a listener is told."""
        return FetchedDeliveryAnswer(
            deliveryId=self.delivery_id,
            attempt=self.attempt,
            eventId=self.event_id,
            eventType=self.event_type,
            body=self.body.decode(),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an attempt. `status` is None when there was no answer, and `error` then says why."""

    delivery_id: str
    attempt: int
    url: str | None
    request_headers: Mapping[str, str] | None
    status: int | None = None
    response_headers: Mapping[str, str] | None = None
    response_body: str | None = None
    is_cut: bool = False
    duration_ms: int | None = None
    error: str | None = None
    asked_seconds: float | None = None
    """How long the endpoint wants to be left alone."""

    @property
    def is_delivered(self) -> bool:
        """True when the endpoint has taken the event."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """True when the endpoint wants nothing more, ever."""
        return self.status == 410

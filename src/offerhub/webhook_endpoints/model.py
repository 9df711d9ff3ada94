"""Webhook endpoints, the deliveries of events to them and the attempts at those: their shapes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from offerhub.events.names import chosen_by
from offerhub.kernel.clock import to_wire
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.targets import URL_CHARACTERS_MAX
from offerhub.runtime.vocabulary import EventId, Timestamp, WebhookDeliveryId, WebhookEndpointId

ENDPOINTS_MAX: Final = 20
"""How many a marketplace may have."""
EVENT_TYPES_MAX: Final = 50
OVERLAP_SECONDS_DEFAULT: Final = 24 * 3600
OVERLAP_SECONDS_MAX: Final = 7 * 24 * 3600
RESPONSE_BYTES_KEPT: Final = 4096
"""How much of an answer's body is kept; the rest is not even read."""
HEADERS_KEPT: Final = 50
HEADER_CHARACTERS_KEPT: Final = 500
ERROR_CHARACTERS_KEPT: Final = 500
FETCHED_MAX: Final = 20
"""How many deliveries one fetch of a listener brings."""
WAIT_SECONDS_MAX: Final = 20

Kind = Literal["PUSH", "PULL"]
EndpointStatus = Literal["ENABLED", "DISABLED", "DELETED"]
DisabledReason = Literal["manual", "gone", "failing"]
DeliveryStatus = Literal["PENDING", "DELIVERED", "FAILED", "CANCELED"]
Outcome = Literal["SENDING", "DELIVERED", "FAILED", "UNKNOWN"]

EVERY_EVENT: Final = "*"
TEST_EVENT: Final = "webhook.test"
DISABLED_EVENT: Final = "webhook.endpoint.disabled"
FAILING_EVENT: Final = "webhook.endpoint.failing"

_EXAMPLE_SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

Url = Annotated[
    str,
    Meta(
        description="Where events are sent, by POST.",
        max_length=URL_CHARACTERS_MAX,
        examples=["https://example.com/webhooks/offerhub"],
    ),
]
Description = Annotated[str, Meta(description="For people.", max_length=500, examples=["Production backend"])]
EventPattern = Annotated[str, Meta(min_length=1, max_length=100)]
EventPatterns = Annotated[
    list[EventPattern],
    Meta(
        description="Which events: names, where `*` stands for anything: `order.*`, `*.failed`, `*`.",
        min_length=1,
        max_length=EVENT_TYPES_MAX,
        examples=[["order.*", "withdrawal.completed"]],
    ),
]
Secret = Annotated[
    str,
    Meta(
        description="Signs what is sent to this endpoint. It is shown only in this answer.",
        examples=[_EXAMPLE_SECRET],
        extra_json_schema={"pattern": "^whsec_[0-9A-Za-z+/]{32}={0,2}$"},
    ),
]
_Moment = Annotated[datetime, Meta(tz=True, examples=["2026-11-22T10:15:30Z"])]
_Cursor = Annotated[str, Meta(max_length=100, examples=["2026-11-22T10:15:30.123Z"])]
_Headers = dict[str, str]
_TypeName = Annotated[
    str, Meta(max_length=100, description="Only of events of this type.", examples=["order.released"])
]
_HeadersTold = Annotated[dict[str, str], Meta(max_length=HEADERS_KEPT, description="Headers by name.")]
_UrlTold = Annotated[str, Meta(max_length=URL_CHARACTERS_MAX, description="Where it was delivered to.")]
_BodyTold = Annotated[
    str, Meta(max_length=RESPONSE_BYTES_KEPT, description="The beginning of the answer's body.", examples=["ok"])
]
_ErrorTold = Annotated[
    str,
    Meta(max_length=ERROR_CHARACTERS_KEPT, description="Why there was no answer.", examples=["connection refused"]),
]
_FetchedAttempt = Annotated[int, Meta(ge=1, description="The attempt, as it was fetched.", examples=[1])]


class WebhookEndpointAnswer(Shape):
    """A webhook endpoint."""

    id: WebhookEndpointId
    kind: Annotated[Kind, Meta(description="`PUSH`: we call it. `PULL`: it fetches, as `offerhub listen` does.")]
    url: Annotated[Url | None, Meta(description="Null for one that fetches.")]
    description: Annotated[str | None, Meta(description="For people.")]
    eventTypes: EventPatterns
    status: EndpointStatus
    disabledReason: Annotated[
        DisabledReason | None,
        Meta(
            description="Why it is disabled: `manual`: somebody did it; `gone`: it answered 410; `failing`: every "
            "attempt had failed for days."
        ),
    ]
    failingSince: Annotated[
        Timestamp | None, Meta(description="Since when every attempt has failed; null when the last one has not.")
    ]
    createdAt: Timestamp
    updatedAt: Timestamp


class WebhookEndpointCreatedAnswer(WebhookEndpointAnswer):
    """A new webhook endpoint, with its secret."""

    secret: Secret


class WebhookSecretAnswer(Shape):
    """An endpoint's new secret."""

    endpointId: WebhookEndpointId
    secret: Secret
    previousSecretExpiresAt: Annotated[
        Timestamp, Meta(description="Until then the secret before it signs as well, in a signature of its own.")
    ]


class WebhookDeliveryAnswer(Shape):
    """The delivery of one event to one endpoint."""

    id: WebhookDeliveryId
    endpointId: WebhookEndpointId
    eventId: Annotated[EventId, Meta(description="The event; it is sent as `webhook-id`, the same at every attempt.")]
    eventType: Annotated[str, Meta(examples=["order.released"])]
    aggregateType: Annotated[str, Meta(examples=["Order"])]
    aggregateId: Annotated[str, Meta(description="What the event is about; its events arrive in their order.")]
    status: DeliveryStatus
    attempts: Annotated[int, Meta(description="How often it was tried so far.", ge=0)]
    nextAttemptAt: Annotated[
        Timestamp | None,
        Meta(description="When it is tried next; null when it has ended, or waits for an earlier event."),
    ]
    createdAt: Timestamp
    endedAt: Timestamp | None


class WebhookAttemptAnswer(Shape):
    """One attempt at a delivery."""

    number: Annotated[int, Meta(ge=1)]
    outcome: Annotated[
        Outcome,
        Meta(
            description="`UNKNOWN`: whoever made it was cut off before the answer; it was made again. "
            "`SENDING`: it is on its way."
        ),
    ]
    startedAt: Timestamp
    durationMs: int | None
    url: str | None
    requestHeaders: Annotated[_Headers | None, Meta(description="As they were sent.")]
    responseStatus: int | None
    responseHeaders: _Headers | None
    responseBody: Annotated[str | None, Meta(description=f"Its first {RESPONSE_BYTES_KEPT} bytes.")]
    responseCut: Annotated[bool, Meta(description="Whether there was more.")]
    error: Annotated[str | None, Meta(description="Why there was no answer.")]


class WebhookDeliveryDetailAnswer(WebhookDeliveryAnswer):
    """A delivery with what was sent and what came back."""

    requestBody: Annotated[str, Meta(description="The event, byte for byte as it is sent and signed.")]
    attemptLog: Annotated[list[WebhookAttemptAnswer], Meta(description="The last 50 attempts, the latest first.")]


class RedeliveredAnswer(Shape):
    """What will be sent again."""

    queued: Annotated[int, Meta(description="How many deliveries.", ge=0)]
    nextCursor: Annotated[
        Timestamp | None,
        Meta(description="There is more in this time: ask again with this `cursor`. Null: that was all."),
    ]


class FetchedDeliveryAnswer(Shape):
    """A delivery for a listener to make."""

    deliveryId: WebhookDeliveryId
    attempt: Annotated[int, Meta(ge=1)]
    eventId: EventId
    eventType: str
    body: Annotated[str, Meta(description="The event, byte for byte as it is to be signed and sent.")]


class FetchedAnswer(Shape):
    """What a listener is to deliver now."""

    deliveries: list[FetchedDeliveryAnswer]


class CreateWebhookEndpoint(Body):
    """A new webhook endpoint; `url` is for those of kind `PUSH` only, and they need it."""

    url: Url | None = None
    eventTypes: EventPatterns | None = None
    description: Description | None = None
    kind: Annotated[Kind, Meta(description="`PULL` makes one that fetches, as `offerhub listen` does.")] = "PUSH"


class UpdateWebhookEndpoint(Body):
    """What is to change; what is not named stays."""

    url: Url | None = None
    eventTypes: EventPatterns | None = None
    description: Description | None = None
    enabled: Annotated[bool | None, Meta(description="`false` disables it, `true` enables it again.")] = None


class RotateWebhookSecret(Body):
    """How the old secret ends."""

    overlapSeconds: Annotated[
        Annotated[int, Meta(ge=0, le=OVERLAP_SECONDS_MAX)] | None,
        Meta(description="How long the old secret signs beside the new one; without it a day.", examples=[86400]),
    ] = None


class ListWebhookDeliveries(PageQuery, kw_only=True):
    """Which deliveries to list."""

    status: Annotated[DeliveryStatus | None, Meta(description="Only those in this state.")] = None
    eventType: _TypeName | None = None
    eventId: EventId | None = None
    since: Annotated[_Moment | None, Meta(description="Only those queued from then on.")] = None
    until: Annotated[_Moment | None, Meta(description="Only those queued before then.")] = None


class RedeliverWebhooks(Body):
    """Which events to send again."""

    since: Annotated[_Moment, Meta(description="Events that happened from then on.")]
    until: Annotated[_Moment | None, Meta(description="And before then; without it until now.")] = None
    only: Annotated[
        Literal["failed", "all"],
        Meta(
            description="`failed`: what has not arrived, be it that every attempt failed or that the endpoint was "
            "disabled; `all`: every event that matches the endpoint's filter."
        ),
    ] = "failed"
    cursor: Annotated[
        _Cursor | None,
        Meta(description="The `nextCursor` of the answer before; or an event's id, to begin right behind it."),
    ] = None


class FetchResult(Body):
    """What came of an attempt that a listener made."""

    deliveryId: WebhookDeliveryId
    attempt: _FetchedAttempt
    requestHeaders: _HeadersTold | None = None
    url: _UrlTold | None = None
    responseStatus: Annotated[
        Annotated[int, Meta(ge=100, le=599)] | None, Meta(description="Null when there was no answer.")
    ] = None
    responseHeaders: _HeadersTold | None = None
    responseBody: _BodyTold | None = None
    durationMs: Annotated[Annotated[int, Meta(ge=0, le=2**31 - 1)] | None, Meta(description="In milliseconds.")] = (
        None
    )
    error: _ErrorTold | None = None


class FetchWebhooks(Body):
    """What became of the last fetch, and how long to wait for the next deliveries."""

    results: Annotated[
        Annotated[list[FetchResult], Meta(max_length=FETCHED_MAX)] | None,
        Meta(description="What came of the deliveries that the last answer brought."),
    ] = None
    waitSeconds: Annotated[
        Annotated[int, Meta(ge=0, le=WAIT_SECONDS_MAX)] | None,
        Meta(description="How long to wait while there is nothing; without it not at all."),
    ] = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A webhook endpoint as stored."""

    id: str
    marketplace_id: str
    kind: Kind
    url: str | None
    description: str | None
    event_types: tuple[str, ...]
    status: EndpointStatus
    disabled_reason: DisabledReason | None
    enabled_at: datetime
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime

    def wants(self, event_type: str) -> bool:
        """True when its filter lets events of this type through."""
        return any(event_type in chosen_by(pattern) for pattern in self.event_types)

    def wire(self) -> WebhookEndpointAnswer:
        """The endpoint as it is answered."""
        return WebhookEndpointAnswer(**self._told())

    def created(self, secret: str) -> WebhookEndpointCreatedAnswer:
        """The new endpoint with its secret."""
        return WebhookEndpointCreatedAnswer(**self._told(), secret=secret)

    def deleted(self) -> WebhookEndpointAnswer:
        """The endpoint as it was, now deleted."""
        return WebhookEndpointAnswer(**self._told() | {"status": "DELETED", "disabledReason": None})

    def _told(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "url": self.url,
            "description": self.description,
            "eventTypes": list(self.event_types),
            "status": self.status,
            "disabledReason": self.disabled_reason,
            "failingSince": optional_moment(self.failing_since),
            "createdAt": to_wire(self.created_at),
            "updatedAt": to_wire(self.updated_at),
        }


def optional_moment(moment: datetime | None) -> str | None:
    """A time on the wire, null when there is none."""
    return None if moment is None else to_wire(moment)

"""An entry of the audit trail, and what it may be searched by (contract 2.13, 6.3)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta, field

from offerhub.kernel.clock import to_wire
from offerhub.kernel.pages import LIMIT_MAX
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Shape
from offerhub.runtime.vocabulary import AuditId, Timestamp

CREATING: Final = "[._](created|opened|issued)$"
"""Names of actions after which there is something new, as a regular expression without regard to case."""
DELETING: Final = "[._](revoked|deleted)$"
"""Names of actions after which something is gone for good."""


CONTENT: Final = """json_build_array(e.position, e.id, e.marketplace_id,
    to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.action, e.resource_type,
    e.resource_id, e.user_id, e.payload_before::text, e.payload_after::text, e.actor_type, e.actor_id, e.result,
    e.correlation_id, e.idempotency_key, e.ip, e.user_agent)::text"""
"""An entry `e` as the chain hashes it: a JSON array of all its columns. Never change it: old links would break."""


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


TEXT_CHARACTERS_MAX: Final = 200

_Text = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
_Moment = Annotated[
    str,
    Meta(
        max_length=TEXT_CHARACTERS_MAX,
        examples=["2026-11-22T10:15:30Z"],
        extra_json_schema={"anyOf": [{"format": "date-time"}, {"format": "date"}]},
    ),
]


class ListEntries(PageQuery, kw_only=True):
    """Which entries to list."""

    limit: Annotated[
        Annotated[int, Meta(ge=1, le=LIMIT_MAX)] | None, Meta(description="How long the page is.", examples=[20])
    ] = None
    resourceType: Annotated[_Text | None, Meta(description="Only of resources of this type.", examples=["Order"])] = (
        None
    )
    resourceId: Annotated[
        _Text | None,
        Meta(description="Only of this resource.", examples=["ord_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"]),
    ] = None
    action: Annotated[
        _Text | None,
        Meta(
            description="Only this action as it is stored, or a class of them: `CREATE`, `UPDATE`, `DELETE`.",
            examples=["CREATE"],
        ),
    ] = None
    userId: Annotated[
        _Text | None,
        Meta(description="Only what concerns this user.", examples=["usr_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"]),
    ] = None
    since: Annotated[
        _Moment | None, Meta(description="Only from then on: an ISO 8601 time, or a date; in UTC without an offset.")
    ] = field(name="from", default=None)
    until: Annotated[
        _Moment | None, Meta(description="Only until then: an ISO 8601 time, or a date; in UTC without an offset.")
    ] = field(name="to", default=None)

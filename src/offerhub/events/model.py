"""An event as readers meet it, which ones they want, and where they have got to (contract 2.12, 6.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta

from offerhub.errors import invalid_field
from offerhub.events.journal import AggregateType
from offerhub.events.names import matching
from offerhub.kernel.clock import EPOCH, to_wire
from offerhub.kernel.ids import is_id
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import ALIAS, EventId, Timestamp

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 500
TEXT_CHARACTERS_MAX: Final = 200

_MILLISECONDS: Final = re.compile(r"[0-9]{1,15}")
_AGGREGATES: Final[dict[str, str]] = {name.lower(): name for name in get_args(AggregateType)}

BEGINNING: Final = EPOCH
"""The cursor before all events."""


class DomainEvent(Shape):
    """Something that happened. `occurredAt` is unique within a marketplace and rises from event to event."""

    eventId: EventId
    eventType: Annotated[
        str,
        Meta(
            description="What happened: a name of the catalogue (docs/reference/events.md).",
            examples=["order.created"],
        ),
    ]
    occurredAt: Timestamp
    aggregateId: Annotated[
        str, Meta(description="To which resource.", examples=["ord_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"])
    ]
    aggregateType: Annotated[str, Meta(description="Of which type.", examples=["Order"])]
    payload: Annotated[
        Any,
        Meta(
            description="What there is to know of it, by `eventType`: see the catalogue.",
            extra_json_schema={"type": "object"},
        ),
    ]
    metadata: Annotated[
        Any,
        Meta(
            description="`marketplaceId`; `sequence`, which counts the resource's events from 1 without a gap; and "
            "where there is one: `userId`, whom it concerns; `correlationId`, the id of the request that led to it; "
            "`causationId`, the saga that did it in the background.",
            extra_json_schema={"type": "object"},
            examples=[{"marketplaceId": "mkt_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe", "sequence": 1}],
        ),
    ]


_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Logged:
    """An event in its place in the log. `payload` and `metadata` are JSON text, as they are stored."""

    place: int
    at: datetime
    id: str
    type: str
    aggregate_type: str
    aggregate_id: str
    marketplace_id: str
    user_id: str | None
    payload: str
    metadata: str

    def wire(self) -> DomainEvent:
        """The event as it is answered, and sent."""
        return DomainEvent(
            eventId=self.id,
            eventType=self.type,
            occurredAt=to_wire(self.at),
            aggregateId=self.aggregate_id,
            aggregateType=self.aggregate_type,
            payload=msgspec.Raw(self.payload),
            metadata=msgspec.Raw(self.metadata),
        )

    def json(self) -> bytes:
        """The event as JSON on one line."""
        return _encode(self.wire())


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of a marketplace a reader wants; None is all. Readers who want the same share one of these."""

    marketplace_id: str
    types: frozenset[str] | None = None
    aggregate_types: frozenset[str] | None = None
    aggregate_id: str | None = None
    user_ids: frozenset[str] | None = None
    """Whom they concern: who is asked for and, for a key that acts for one user, that one; both must be met."""

    def matches(self, event: Logged) -> bool:
        """True when the reader wants it."""
        return (
            event.marketplace_id == self.marketplace_id
            and (self.types is None or event.type in self.types)
            and (self.aggregate_types is None or event.aggregate_type in self.aggregate_types)
            and (self.aggregate_id is None or event.aggregate_id == self.aggregate_id)
            and (self.user_ids is None or self.user_ids == {event.user_id})
        )


_Names = Annotated[list[Annotated[str, Meta(max_length=2000)]], Meta(max_length=60)]
_Text = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
_Cursor = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX, examples=["2026-11-22T10:15:30.123Z"])]


class EventFilters(Body, kw_only=True):
    """Which events are wanted. Lists may be repeated parameters or have commas."""

    types: Annotated[
        _Names | None,
        Meta(description="Only these types, where `*` stands for anything: `order.*`.", examples=[["order.*"]]),
    ] = None
    resources: Annotated[
        _Names | None, Meta(description="Only of resources of these types: `Order`, `Balance`.", examples=[["Order"]])
    ] = None
    resourceTypes: Annotated[
        _Names | None, Meta(description="Another name of `resources`.", extra_json_schema=ALIAS)
    ] = None
    resourceId: Annotated[
        _Text | None,
        Meta(description="Only of this resource.", examples=["ord_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"]),
    ] = None
    userId: Annotated[
        _Text | None,
        Meta(description="Only what concerns this user.", examples=["usr_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"]),
    ] = None
    user_id: Annotated[_Text | None, Meta(description="Another name of `userId`.", extra_json_schema=ALIAS)] = None

    def wanted(self, marketplace_id: str, bound_user_id: str | None) -> Wanted:
        """The choice of a reader in this marketplace; a reader who acts for one user sees what concerns that one.

        Raises ValidationFailed for names that nothing has.
        """
        types = _listed(self.types)
        kinds = _listed([*(self.resources or ()), *(self.resourceTypes or ())])
        users = {one for one in (self.userId, self.user_id, bound_user_id) if one is not None}
        return Wanted(
            marketplace_id,
            matching(types) if types else None,
            frozenset(_aggregate(kind) for kind in kinds) if kinds else None,
            self.resourceId,
            frozenset(users) or None,
        )


_SINCE: Final = "what has happened after that: an ISO 8601 time, or milliseconds since 1970."


class ListEvents(EventFilters, kw_only=True):
    """Which events to list."""

    limit: Annotated[
        int | None,
        Meta(
            description=f"How many at most; {PAGE_DEFAULT} unless told, above {PAGE_MAX} counts as {PAGE_MAX}.",
            examples=[PAGE_DEFAULT],
            extra_json_schema={"minimum": 1},
        ),
    ] = None
    cursor: Annotated[
        _Cursor | None,
        Meta(
            description="Where to go on: the `nextCursor` of the page before, the `id` of a frame of the stream, or "
            "an event's id. Without one, and without `since`, the log is read from its beginning.",
        ),
    ] = None
    since: Annotated[_Cursor | None, Meta(description=f"Without a `cursor`: {_SINCE}")] = None


class FollowEvents(EventFilters, kw_only=True):
    """Which events to follow."""

    since: Annotated[_Cursor | None, Meta(description=f"Begin with {_SINCE}")] = None
    cursor: Annotated[
        _Cursor | None, Meta(description="The same as `since`, and an event's id will do; it goes before `since`.")
    ] = None
    named: Annotated[
        bool | None,
        Meta(description="`false` leaves the lines `event:` out, for clients that only listen to unnamed messages."),
    ] = None


def cut(milliseconds: datetime) -> datetime:
    """The moment in whole milliseconds, as the log has it."""
    return milliseconds.replace(microsecond=milliseconds.microsecond // 1000 * 1000)


def moment(text: str) -> datetime | None:
    """A time in ISO 8601 (UTC without an offset) or in milliseconds since 1970; None when it is neither.

    >>> moment("1795342530123"), moment("2026-11-22T10:15:30.123Z") == moment("1795342530123"), moment("now")
    (datetime.datetime(2026, 11, 22, 10, 15, 30, 123000, tzinfo=datetime.timezone.utc), True, None)
    """
    try:
        if _MILLISECONDS.fullmatch(text):
            return EPOCH + timedelta(milliseconds=int(text))
        # A `+` that nobody escaped has become a space on its way.
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        return cut((found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def is_event_id(text: str) -> bool:
    """True when the text has the shape of an event's id."""
    return is_id(text, "evt")


def _listed(given: Sequence[str] | None) -> list[str]:
    return [name.strip() for text in given or () for name in text.split(",") if name.strip()]


def _aggregate(name: str) -> str:
    found = _AGGREGATES.get(name.lower())
    if found is None:
        raise invalid_field("resources", f"resources: {name[:60]!r} is none of {', '.join(_AGGREGATES.values())}")
    return found

"""The routes of events (contract 2.12)."""

from offerhub.errors import TooManyStreams
from offerhub.events import service
from offerhub.events.feed import Feed
from offerhub.events.model import BEGINNING, DomainEvent, FollowEvents, ListEvents
from offerhub.events.subscription import Form, Subscription
from offerhub.kernel.clock import to_wire
from offerhub.kernel.pages import Page
from offerhub.runtime.database import Database
from offerhub.runtime.routes import Call, Envelope, Handler, Route, Stream

_LOG = """\
For clients that ask now and then. Pages are oldest first. `pagination.nextCursor` is always the place to go on from:
keep it, and ask again with it, at once while `hasMore` is true and later when it is not. No event ever appears behind
a cursor. A page may have fewer events than the limit, or none, and still have more behind it, when few of them match.
"""


_STREAM = """\
Server-sent events, as browsers' `EventSource` and its like read them. A frame has the event's moment as `id`, its
type as `event` and the event as JSON in `data`, which is one line. With `Last-Event-ID`, `cursor` or `since` the
stream begins with what has happened after that, and goes on with what happens, without a gap and without repetition;
a value that is neither a time nor an event begins with what happens now. A frame named `ping` comes now and then.

The service ends a stream with a frame named `end`, whose `reason` is `shutdown`, `revoked` (the key may not read any
more) or `slow` (the client was too far behind). Come back with the last `id` that you have seen, as `EventSource`
does. Only the beginning of a stream counts for the rate limit.
"""


def routes(database: Database, feed: Feed) -> tuple[Route, ...]:
    """The routes."""
    return (
        Route("GET", "/events", "events.follow", "Follow events as they happen.",
              _follow(database, feed), scope="read", domain="events", envelope=Envelope.DATA, query=FollowEvents,
              unit="none", answer=Stream, media_type="text/event-stream", errors=(TooManyStreams,),
              description=_STREAM),
        Route("GET", "/events/log", "events.log", "Read the log of events, oldest first.",
              _log(database), scope="read", domain="events", envelope=Envelope.PAGE, query=ListEvents, unit="none",
              answer=DomainEvent, description=_LOG),
    )  # fmt: skip


def _log(database: Database) -> Handler:
    async def handle(call: Call) -> Page:
        found = await service.page(database, call.actor, call.query)
        cursor = None if found.cursor == BEGINNING else to_wire(found.cursor)
        return Page([event.wire() for event in found.events], cursor, more=found.has_more)

    return handle


def _follow(database: Database, feed: Feed) -> Handler:
    async def handle(call: Call) -> Subscription:
        query: FollowEvents = call.query
        wanted = query.wanted(call.actor.marketplace_id, call.actor.bound_user_id)
        cursor = call.headers.get("last-event-id") or query.cursor or query.since
        start = await service.begin(database, wanted.marketplace_id, cursor)
        return Subscription(feed, Form(wanted, named=query.named is not False), start)

    return handle

"""The routes of events (contract 2.12)."""

from offerhub.events import service
from offerhub.events.model import BEGINNING, DomainEvent, ListEvents
from offerhub.kernel.clock import to_wire
from offerhub.kernel.pages import Page
from offerhub.runtime.database import Database
from offerhub.runtime.routes import Call, Envelope, Handler, Route

_LOG = """\
For clients that ask now and then. Pages are oldest first. `pagination.nextCursor` is always the place to go on from:
keep it, and ask again with it, at once while `hasMore` is true and later when it is not. No event ever appears behind
a cursor. A page may have fewer events than the limit, or none, and still have more behind it, when few of them match.
"""


def routes(database: Database) -> tuple[Route, ...]:
    """The routes."""
    return (
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

"""The use cases of the log: give places, read a page, find out where a reader stands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from offerhub.errors import invalid_field
from offerhub.events import store
from offerhub.events.model import BEGINNING, PAGE_DEFAULT, PAGE_MAX, ListEvents, Logged, is_event_id, moment
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx

CATCH_UP_ROUNDS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of the log, oldest first. `cursor` is where the next one begins, also when there is none yet."""

    events: list[Logged]
    cursor: datetime
    has_more: bool


async def settle(database: Database) -> None:
    """Give every event that has been committed by now its place in the log.

    After an outage more may have come together than is done here at once; the rest follows with the next call.
    """
    for _ in range(CATCH_UP_ROUNDS_MAX):
        if await database.run(store.sequence) < store.SEQUENCED_MAX:
            return


async def page(database: Database, actor: Actor, query: ListEvents) -> LogPage:
    """A page of what the caller may see, with everything that was committed before the call.

    Raises ValidationFailed for a cursor that is none, a limit below 1 and names that nothing has.
    """
    limit = PAGE_DEFAULT if query.limit is None else min(query.limit, PAGE_MAX)
    if limit < 1:
        raise invalid_field("limit", "limit must be at least 1")
    wanted = query.wanted(actor.marketplace_id, actor.bound_user_id)
    await settle(database)

    async def read(tx: Tx) -> LogPage:
        cursor = await _cursor(tx, actor.marketplace_id, query)
        return LogPage(*await store.matching(tx, wanted, cursor, await store.head(tx), limit))

    return await database.run(read, read_only=True)


async def begin(database: Database, marketplace_id: str, cursor: str | None) -> datetime:
    """Where a stream begins: behind its cursor or, when that is none, behind everything committed before the call."""
    await settle(database)

    async def read(tx: Tx) -> datetime | None:
        found = None if cursor is None else await resolve(tx, marketplace_id, cursor)
        return found or await store.end(tx, marketplace_id)

    return await database.run(read, read_only=True) or BEGINNING


async def resolve(tx: Tx, marketplace_id: str, text: str) -> datetime | None:
    """The moment that a cursor stands for: a time, or an event of the marketplace; None when it is neither."""
    if is_event_id(text):
        return await store.moment_of(tx, marketplace_id, text)
    return moment(text)


async def _cursor(tx: Tx, marketplace_id: str, query: ListEvents) -> datetime:
    if query.cursor is not None:
        found = await resolve(tx, marketplace_id, query.cursor)
        if found is None:
            raise invalid_field("cursor", "cursor must be the nextCursor of an earlier page, or the id of an event")
        return found
    if query.since is not None:
        found = moment(query.since)
        if found is None:
            raise invalid_field("since", "since must be an ISO 8601 time, or milliseconds since 1970")
        return found
    return BEGINNING


async def place(tx: Tx, event_id: str) -> None:
    """Give an event that this transaction has written its place in the log already now, and all before it theirs.

    Until the commit nobody else gives places.
    """
    while not await store.by_id(tx, [event_id]):
        assert await store.sequence(tx), "the event has not been written"

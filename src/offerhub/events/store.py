"""All SQL of reading the log of events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from offerhub.events.model import Logged, Wanted
from offerhub.runtime.database import Row, Tx

SEQUENCED_MAX: Final = 2000
"""How many events get their place in one transaction; whoever else wants to give places waits for it."""
WINDOW_PLACES: Final = 5000
"""How much of the log one page looks through for events that match."""

_EVENT: Final = """
    l.place, l.at, e.id, e.type, e.aggregate_type, e.aggregate_id, e.marketplace_id,
    e.metadata ->> 'userId' AS user_id, e.payload::text AS payload,
    (e.metadata || jsonb_build_object('sequence', e.sequence))::text AS metadata
"""
_AFTER: Final = f"""
SELECT {_EVENT} FROM event_log l JOIN events e ON e.position = l.event WHERE l.place > $1 ORDER BY l.place LIMIT $2
"""
_WINDOW: Final = """
SELECT place, at, event FROM event_log WHERE marketplace_id = $1 AND at > $2 AND place <= $3 ORDER BY at LIMIT $4
"""
_MATCHING: Final = f"""
SELECT {_EVENT} FROM ({_WINDOW}) AS l JOIN events e ON e.position = l.event
WHERE ($6::text[] IS NULL OR e.type = ANY($6))
    AND ($7::text[] IS NULL OR e.aggregate_type = ANY($7))
    AND ($8::text IS NULL OR e.aggregate_id = $8)
    AND ($9::text[] IS NULL OR (e.metadata ->> 'userId') = ALL($9))
ORDER BY l.at LIMIT $5
"""
_END_OF_WINDOW: Final = f"SELECT count(*) AS places, max(at) AS at FROM ({_WINDOW}) AS l"


async def sequence(tx: Tx) -> int:
    """Give places in the log to events that have been committed and have none; returns to how many.

    At most SEQUENCED_MAX. Others see the places once this transaction has committed.
    """
    return int(await tx.value("SELECT sequence_events($1)", SEQUENCED_MAX))


async def head(tx: Tx) -> int:
    """The last place in the log, 0 when it is empty."""
    return int(await tx.value("SELECT coalesce(max(place), 0) FROM event_log"))


async def end(tx: Tx, marketplace_id: str) -> datetime | None:
    """The cursor behind everything in a marketplace's log; None while it is empty."""
    found: datetime | None = await tx.value("SELECT max(at) FROM event_log WHERE marketplace_id = $1", marketplace_id)
    return found


async def after(tx: Tx, place: int, limit: int) -> list[Logged]:
    """The events of all marketplaces behind a place, in order, at most `limit`."""
    return [_logged(row) for row in await tx.rows(_AFTER, place, limit)]


async def by_id(tx: Tx, event_ids: Sequence[str]) -> dict[str, Logged]:
    """These events by id, of all marketplaces; those that have no place yet are not there."""
    rows = await tx.rows(
        f"SELECT {_EVENT} FROM events e JOIN event_log l ON l.event = e.position WHERE e.id = ANY($1)",
        list(event_ids),
    )
    return {row["id"]: _logged(row) for row in rows}


async def moment_of(tx: Tx, marketplace_id: str, event_id: str) -> datetime | None:
    """The cursor that an event of the marketplace stands for; None when there is no such event in its log."""
    found: datetime | None = await tx.value(
        """
        SELECT l.at FROM events e JOIN event_log l ON l.event = e.position
        WHERE e.id = $1 AND e.marketplace_id = $2
        """,
        event_id,
        marketplace_id,
    )
    return found


async def matching(
    tx: Tx, wanted: Wanted, cursor: datetime, up_to: int, limit: int
) -> tuple[list[Logged], datetime, bool]:
    """At most `limit` events behind a cursor that are wanted; the cursor behind them, and whether more may follow.

    `up_to` is the last place that counts. A page looks through WINDOW_PLACES at most: it may be short, or empty, and
    have others behind it.
    """
    window = (wanted.marketplace_id, cursor, up_to, WINDOW_PLACES)
    rows = await tx.rows(
        _MATCHING,
        *window,
        limit + 1,
        _array(wanted.types),
        _array(wanted.aggregate_types),
        wanted.aggregate_id,
        _array(wanted.user_ids),
    )
    found = [_logged(row) for row in rows[:limit]]
    if len(rows) > limit:
        return found, found[-1].at, True
    end = await tx.one(_END_OF_WINDOW, *window)
    return found, end["at"] or cursor, end["places"] == WINDOW_PLACES


def _array(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _logged(row: Row) -> Logged:
    return Logged(*row.values())

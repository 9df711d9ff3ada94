"""The log: every event once, in one order for everybody, with nothing behind a cursor (reliability I9)."""

import asyncio
import itertools
import json
import random

import pytest

from offerhub.errors import ValidationFailed
from offerhub.events import service, store
from offerhub.events.journal import Event, record
from offerhub.events.model import ListEvents, Logged, moment
from offerhub.events.names import NAMES, matching
from offerhub.kernel.clock import to_wire
from offerhub.kernel.ids import new_id
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Database, Tx

WRITERS, EACH, AGGREGATES = 8, 25, 3


async def write(
    database: Database, actor: Actor, *names: str, user_id: str | None = None, order_id: str | None = None
) -> None:
    """Events of one order, in one transaction."""
    subject = order_id or new_id("ord")
    events = [Event(name, "Order", subject, {"orderId": subject}, user_id) for name in names]
    await database.run(lambda tx: record(tx, actor, events=events))


async def test_a_reader_behind_writers_sees_every_event_once_in_the_order_of_commits(
    database: Database, actor: Actor
) -> None:
    """Some writers keep their transaction open after they have written; others commit meanwhile, before and after."""
    chance = random.Random(7)
    subjects = [new_id("ord") for _ in range(AGGREGATES)]
    committed: list[tuple[float, float, str]] = []
    clock = asyncio.get_running_loop().time

    async def writer(number: int) -> None:
        for turn in range(EACH):
            mark = f"{number}-{turn}"
            begun = clock()

            async def use_case(tx: Tx, mark: str = mark) -> None:
                # A transaction id early, a position late: the order of the one is not that of the other.
                await tx.value("SELECT pg_current_xact_id()")
                await asyncio.sleep(chance.random() * 0.01)
                subject = chance.choice(subjects)
                await record(tx, actor, events=[Event("order.created", "Order", subject, {"mark": mark})])
                await asyncio.sleep(chance.choice((0, 0, 0.02)))

            await database.run(use_case)
            committed.append((begun, clock(), mark))

    seen: list[Logged] = []

    async def reader() -> None:
        while len(seen) < WRITERS * EACH:
            await database.run(store.sequence)
            seen.extend(await database.run(lambda tx: store.after(tx, seen[-1].place if seen else 0, 7)))
            await asyncio.sleep(0)

    async def other_sequencer() -> None:
        while len(seen) < WRITERS * EACH:
            await database.run(store.sequence)

    async with asyncio.timeout(60):
        await asyncio.gather(reader(), other_sequencer(), *(writer(number) for number in range(WRITERS)))

    assert [event.place for event in seen] == list(range(1, WRITERS * EACH + 1))
    assert len({event.id for event in seen}) == WRITERS * EACH
    assert all(one.at < two.at for one, two in itertools.pairwise(seen))
    for subject in subjects:
        numbers = [json.loads(event.metadata)["sequence"] for event in seen if event.aggregate_id == subject]
        assert numbers == list(range(1, len(numbers) + 1))
    places = {event.payload: event.place for event in seen}
    of = {mark: next(place for payload, place in places.items() if f'"{mark}"' in payload) for *_, mark in committed}
    for _, ended, before in committed:
        for begun, _, later in committed:
            assert begun <= ended or of[before] < of[later]


async def test_a_long_transaction_holds_up_its_own_events_only(database: Database, actor: Actor) -> None:
    go_on, written = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await record(tx, actor, events=[Event("order.canceled", "Order", new_id("ord"), {})])
        written.set()
        await go_on.wait()

    task = asyncio.create_task(database.run(slow))
    await written.wait()
    await write(database, actor, "order.created", "order.closed")
    first = await service.page(database, actor, ListEvents())
    assert [event.type for event in first.events] == ["order.created", "order.closed"]
    go_on.set()
    await task
    second = await service.page(database, actor, ListEvents(cursor=to_wire(first.cursor)))
    assert [event.type for event in second.events] == ["order.canceled"]


async def test_moments_are_unique_though_everything_happens_at_once(database: Database, actor: Actor) -> None:
    other = system("mkt_other", "test")
    await write(database, actor, *["order.created"] * 50)
    await write(database, other, *["order.created"] * 3)
    await service.settle(database)
    rows = await database.run(lambda tx: store.after(tx, 0, 100))
    moments = [event.at for event in rows if event.marketplace_id == actor.marketplace_id]
    assert len(set(moments)) == 50
    assert moments == sorted(moments)
    assert all(moment.microsecond % 1000 == 0 for moment in moments)


async def test_pages_go_through_the_whole_log_and_on_from_its_end(database: Database, actor: Actor) -> None:
    await write(database, system("mkt_other", "test"), "order.created")
    empty = await service.page(database, actor, ListEvents())
    assert (empty.events, empty.has_more) == ([], False)
    for name in NAMES:
        await write(database, actor, name)
    seen: list[Logged] = []
    query = ListEvents(limit=10)
    while True:
        page = await service.page(database, actor, query)
        seen += page.events
        query = ListEvents(limit=10, cursor=to_wire(page.cursor))
        if not page.has_more:
            break
    assert tuple(event.type for event in seen) == NAMES
    assert (await service.page(database, actor, query)).cursor == page.cursor
    await write(database, actor, "order.closed")
    assert [event.type for event in (await service.page(database, actor, query)).events] == ["order.closed"]
    by_id = await service.page(database, actor, ListEvents(cursor=seen[-1].id))
    assert [event.type for event in by_id.events] == ["order.closed"]
    milliseconds = str(round(seen[-2].at.timestamp() * 1000))
    since = await service.page(database, actor, ListEvents(since=milliseconds))
    assert [event.type for event in since.events] == [seen[-1].type, "order.closed"]


async def test_filters_choose_and_a_page_that_found_little_still_moves_on(
    database: Database, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "WINDOW_PLACES", 10)
    ann, order = new_id("usr"), new_id("ord")
    await write(database, actor, *["order.created"] * 25)
    await write(database, actor, "order.disputed", "order.closed", user_id=ann, order_id=order)

    async def all_of(**filters: object) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            page = await service.page(database, actor, ListEvents(cursor=cursor, **filters))  # type: ignore[arg-type]
            found += [event.type for event in page.events]
            cursor = to_wire(page.cursor)
            if not page.has_more:
                return found

    assert await all_of(types=["order.d*,order.closed"]) == ["order.disputed", "order.closed"]
    assert await all_of(userId=ann) == ["order.disputed", "order.closed"]
    assert await all_of(userId=ann, user_id=new_id("usr")) == []
    assert await all_of(resourceId=order, types=["*.closed"]) == ["order.closed"]
    assert await all_of(resourceTypes=["balance", "order"], types=["order.disputed"]) == ["order.disputed"]
    assert await all_of(resources=["Balance"]) == []


@pytest.mark.parametrize(
    "query",
    [
        ListEvents(cursor="evt_" + "0" * 32),
        ListEvents(cursor="yesterday"),
        ListEvents(since="evt_" + "0" * 32),
        ListEvents(limit=0),
        ListEvents(types=["order.creatd"]),
        ListEvents(resources=["Orders"]),
    ],
)
async def test_what_names_nothing_is_refused(database: Database, actor: Actor, query: ListEvents) -> None:
    with pytest.raises(ValidationFailed):
        await service.page(database, actor, query)


async def test_an_event_of_another_marketplace_is_no_cursor(database: Database, actor: Actor) -> None:
    await write(database, system("mkt_other", "test"), "order.created")
    await service.settle(database)
    (theirs,) = await database.run(lambda tx: store.after(tx, 0, 10))
    with pytest.raises(ValidationFailed):
        await service.page(database, actor, ListEvents(cursor=theirs.id))


def test_patterns_and_moments() -> None:
    assert matching(["*"]) == set(NAMES)
    assert matching(["escrow.*", "dispute.opened"]) == {n for n in NAMES if n.startswith("escrow.")} | {
        "dispute.opened"
    }
    assert moment("2026-11-22T11:15:30.123 01:00") == moment("2026-11-22T10:15:30.123Z") == moment("1795342530123")
    assert moment("9" * 15) is None
    assert moment("") is None

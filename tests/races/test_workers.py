"""Two processes after one piece of work: a saga, a webhook, a deposit. It is done once."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

from offerhub.runtime.database import Tx
from offerhub.webhooks.jobs import Processing
from support.long_runs import Tally, long_runs
from support.outside import World, eventually
from support.product import Marketplace, Running, running, unique
from support.racing import at_once

ROUNDS = 8 if long_runs() else 1
ORDERS = 3 if long_runs() else 2
DEPOSITS = 120 if long_runs() else 12
TOPUPS = 20 if long_runs() else 2

pytestmark = pytest.mark.long_form


@contextlib.asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let this go on beside the block."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_two_engines_after_the_same_sagas(
    shop: Marketplace, elsewhere: Marketplace, replica: Running, tally: Tally
) -> None:
    """Each is driven by its request, by its job, by two sweepers that never rest, and by whoever pokes it."""
    orders: list[str] = []
    buyer, seller = await shop.people(f"{10 * ORDERS * ROUNDS}", None)

    async def sell(shop: Marketplace, number: int) -> str:
        order = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
        ask = shop.post(f"/orders/{order}/resolution/{'refund' if number % 3 else 'release'}", {"reason": "r"})
        resume = [engine.resume(order) for engine in (shop.live.product.engine, replica.product.engine)] * 4
        heard, *_ = await asyncio.gather(ask, *resume)
        assert heard.data["status"] == "CLOSED", heard.body
        return order

    sweepers = [live.product.engine.sweep_forever(0.01) for live in (shop.live, replica)]
    async with beside(*sweepers):
        at = itertools.cycle((shop, elsewhere))
        for _ in range(ROUNDS):
            orders += await asyncio.gather(*(sell(next(at), number) for number in range(ORDERS)))
    for order in orders:
        postings = await shop.postings(order)
        assert len(postings) == len(set(postings)) == 3, postings
        events = await shop.events(order)
        assert len(events) == len(set(events)), events
        assert {status for _, status in await shop.sagas(order)} == {"SUCCEEDED"}
    sql = """
        SELECT e.status, count(*) AS envelopes, count(DISTINCT (e.saga_id, e.position)) AS steps
        FROM envelopes e JOIN sagas g ON g.id = e.saga_id WHERE g.subject_id = ANY($1) GROUP BY e.status
    """
    [row] = await shop.live.rows(sql, orders)
    assert row["status"] == "SUCCEEDED"
    assert row["envelopes"] == row["steps"], "each step has one transaction"
    await shop.assert_backed(buyer, seller)
    tally("races", len(orders))


async def test_two_watchers_book_each_deposit_once(
    shop: Marketplace, replica: Running, world: World, tally: Tally
) -> None:
    """As if both held the lease: one had it, slept, and woke up beside its successor."""
    people = await shop.people(None, None)
    async with beside(replica.product.deposits.watch()):
        paid = [
            await world.mint(people[number % 2].address, f"1.00000{number:02d}"[:9]) for number in range(DEPOSITS)
        ]
        sql = "SELECT count(*) FROM deposits WHERE transaction_hash = ANY($1)"
        await eventually(lambda: shop.live.value(sql, paid), lambda count: count >= DEPOSITS)
        await shop.live.deposits_caught_up()
    assert await shop.live.value(sql, paid) == DEPOSITS
    for person in people:
        assert (await shop.postings(person.id)) == ["deposit"] * (DEPOSITS // 2)
    await shop.assert_backed(*people)
    tally("races", DEPOSITS)


@pytest.fixture(scope="module")
async def airtm_replica(airtm_live: Running, airtm_environ: dict[str, str]) -> AsyncIterator[Running]:
    """A second product on the rail of Airtm, on the database of the first."""
    async with running(airtm_environ, jobs=False) as found:
        yield found


def _taken_in(event_id: str, topup_id: str) -> Callable[[Tx], Awaitable[int]]:
    """The row of a webhook that has been taken in."""
    sql = """
        INSERT INTO webhook_events (provider, event_id, event_type, subject, status)
        VALUES ('AIRTM', $1, 'payin.confirmed', $2, 'RECEIVED')
    """
    return lambda tx: tx.execute(sql, event_id, topup_id)


async def test_webhooks_jobs_and_requests_after_one_payin_credit_it_once(
    airtm_shop: Marketplace, airtm_replica: Running, world: World, tally: Tally
) -> None:
    """Airtm's own webhook, the same job twice at each of two processes, and clients that refresh."""
    shop, elsewhere = airtm_shop, airtm_shop.on(airtm_replica)
    made = await shop.done("POST", "/users", {"externalUserId": unique("payer")}, status=201)
    await shop.done("POST", f"/users/{made['id']}/airtm/link", {"email": f"{unique('payer')}@example.com"})
    jobs = [
        Processing(live.product.database, live.product.engine, live.product.airtm, looks_max=8)
        for live in (shop.live, airtm_replica)
    ]
    for number in range(1, TOPUPS + 1):
        topup = await shop.done("POST", "/topups", {"userId": made["id"], "amount": "25.00"}, status=201)
        event = {"provider": "AIRTM", "eventId": unique("msg")}
        await shop.live.product.database.run(_taken_in(event["eventId"], topup["id"]))
        await world.airtm_payin(topup["airtmPayinId"], "confirm", "0.25")
        processing = asyncio.gather(*(job.process(event) for job in jobs * 2))
        path = f"/topups/{topup['id']}/refresh"
        heard = await at_once(*(one.post(path) for one in (shop, elsewhere) * 4))
        await processing
        assert {(one.status, one.data["status"]) for one in heard} == {(200, "TOPUP_SUCCEEDED")}
        assert await shop.units(made["id"]) == {"available": number * 247_500_000}
        assert (await shop.events(topup["id"])).count("topup.succeeded") == 1
        assert await shop.postings(topup["id"]) == ["topup"]
        tally("races", 12)

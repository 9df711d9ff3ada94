"""A driver that was stalled, lost its lease and wakes up late does nothing any more, here or on the chain."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from support.fleet import fleet
from support.long_runs import Tally, long_runs
from support.outside import World, eventually
from support.own_redis import OwnRedis
from support.product import MASTER_KEY, Marketplace, Person, Running, environment
from support.racing import UNIT, in_contract

pytestmark = [pytest.mark.long_form, pytest.mark.usefixtures("mended")]

STALLED_SECONDS = 1.5

PLACES = [
    # What the payer's next transaction will be: a late one would carry the number after its successor's.
    ("horizon", "/accounts/{payer}", "GET", 2),
    ("horizon", "/accounts/{payer}", "GET", 1),
    # Its envelope is stored; whoever sends it, it is one transaction.
    ("horizon", "/transactions", "POST", 1),
    ("horizon", "/transactions/", "GET", 1),
]
CALLS = [
    ("trustless_work", "/escrow/single-release/fund-escrow", "POST", 1),
    ("trustless_work", "/helper/send-transaction", "POST", 1),
    ("horizon", "/transactions/", "GET", 1),
]


async def lose_lease(live: Running, subject: str) -> str:
    """What time does to the lease of a stalled driver, in a moment; returns the saga's id."""
    sql = """
        UPDATE sagas SET lease_until = '-infinity', next_attempt_at = '-infinity'
        WHERE subject_id = $1 AND status = 'RUNNING' RETURNING id
    """
    return str(await live.product.database.run(lambda tx: tx.value(sql, subject)))


async def leaves_nothing(live: Running, saga: str) -> None:
    """The late driver has come to its end, and holds nothing that others wait for."""
    await live.product.engine.drive(saga)
    assert await live.value("SELECT count(*) FROM signer_lanes WHERE saga_id = $1", saga) == 0
    statuses = await live.rows("SELECT DISTINCT status FROM envelopes WHERE saga_id = $1", saga)
    assert [row["status"] for row in statuses] == ["SUCCEEDED"]


@pytest.mark.parametrize(("face", "route", "method", "nth"), PLACES if long_runs() else PLACES[:1])
async def test_a_withdrawal_is_paid_once_though_its_first_driver_wakes_up_late(
    shop: Marketplace, replica: Running, world: World, tally: Tally, face: str, route: str, method: str, nth: int
) -> None:
    [person] = await shop.people("50")
    target, _ = await world.outside_wallet()
    place = {"route": route.format(payer=person.address), "method": method, "nth": nth}
    stalled = await world.fault(face, kind="delay", times=1, seconds=STALLED_SECONDS, **place)
    body = {"userId": person.id, "amount": "20.00", "destinationType": "crypto", "destinationRef": target}
    asked = asyncio.create_task(shop.post("/withdrawals", body))
    await eventually(stalled.fired, lambda fired: fired == 1)
    subject = await shop.live.value("SELECT id FROM withdrawals WHERE user_id = $1", person.id)
    saga = await lose_lease(shop.live, subject)
    await replica.product.engine.wait(saga, 20)
    assert (await shop.done("GET", f"/withdrawals/{subject}"))["status"] == "WITHDRAWAL_COMPLETED"
    assert (await asked).data["status"] == "WITHDRAWAL_COMPLETED"
    await leaves_nothing(shop.live, saga)
    assert await shop.on_chain(target) == 20 * UNIT
    assert await shop.units(person.id) == {"available": 30 * UNIT}
    await shop.assert_backed(person)
    tally("races")


@pytest.mark.parametrize(("face", "route", "method", "nth"), CALLS if long_runs() else CALLS[:1])
async def test_an_escrow_is_funded_once_though_its_first_driver_wakes_up_late(
    shop: Marketplace,
    replica: Running,
    world: World,
    pair: tuple[Person, Person],
    tally: Tally,
    face: str,
    route: str,
    method: str,
    nth: int,
) -> None:
    order = await shop.order(*pair, "10.00", "ESCROW_FUNDING")
    stalled = await world.fault(face, route, "delay", method=method, nth=nth, times=1, seconds=STALLED_SECONDS)
    asked = asyncio.create_task(shop.post(f"/orders/{order}/escrow/fund"))
    await eventually(stalled.fired, lambda fired: fired == 1)
    saga = await lose_lease(shop.live, order)
    await replica.product.engine.wait(saga, 20)
    found = (await asked).data
    assert found["status"] == "IN_PROGRESS"
    await leaves_nothing(shop.live, saga)
    assert await in_contract(world, found["escrow"]["contractId"]) == 10 * UNIT
    assert await shop.postings(order) == ["hold", "fund_escrow"]
    await shop.assert_backed(*pair)
    tally("races")


# -- processes -----------------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_a_process_that_stands_still_in_the_middle_of_a_payment_does_nothing_when_it_goes_on(
    office_environ: dict[str, str],
    own_redis: OwnRedis,
    sandbox_environ: dict[str, str],
    world: World,
    http: aiohttp.ClientSession,
    tmp_path: Path,
    tally: Tally,
) -> None:
    """As when a machine is moved: the operating system stops it whole, its leases run out, and then it goes on."""
    await own_redis.start()
    environ = environment(
        office_environ["DATABASE_URL"], own_redis.url, sandbox_environ, OFFERHUB_MASTER_KEY=MASTER_KEY
    )
    async with fleet(tmp_path, environ, apis=0, workers=0) as ours:
        first, second = await ours.start_api("--jobs"), await ours.start_api("--jobs")
        await asyncio.gather(first.ready(), second.ready())
        shop = await Marketplace.found(ours.at(first), world, http)
        other = shop.on(ours.at(second))
        buyer, seller = await shop.people("100", None)
        target, _ = await world.outside_wallet()
        paid = {"userId": buyer.id, "amount": "20.00", "destinationType": "crypto", "destinationRef": target}
        order = await shop.order(buyer, seller, "10.00", "ESCROW_FUNDING")
        funding = ("trustless_work", "/escrow/single-release/fund-escrow", 1, f"/orders/{order}/escrow/fund", None)
        paying = ("horizon", f"/accounts/{buyer.address}", 2, "/withdrawals", paid)

        async def under_way() -> int:
            return int(await other.live.value("SELECT count(*) FROM sagas WHERE status = 'RUNNING'"))

        for face, route, nth, path, body in (funding, paying):
            stalled = await world.fault(face, route, "delay", nth=nth, times=1, seconds=0.5)
            asked = asyncio.create_task(shop.post(path, body))
            await eventually(stalled.fired, lambda fired: fired == 1)
            first.process.send_signal(signal.SIGSTOP)
            await eventually(under_way, lambda count: count == 0)
            first.process.send_signal(signal.SIGCONT)
            assert (await asked).status < 300
            tally("races")
        await eventually(lambda: shop.live.value("SELECT count(*) FROM signer_lanes"), lambda count: count == 0)
        assert await shop.postings(order) == ["hold", "fund_escrow"]
        assert await shop.on_chain(target) == 20 * UNIT
        assert await shop.units(buyer.id) == {"available": 70 * UNIT}
        assert await first.stop() == 0
        await other.assert_backed(buyer)
        await other.live.assert_books_hold()

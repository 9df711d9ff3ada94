"""A driver that was stalled, lost its lease and wakes up late does nothing any more: not here, and not on the chain."""

import asyncio

import pytest

from support.long_runs import Tally, long_runs
from support.outside import World, eventually
from support.product import Marketplace, Person, Running
from support.racing import UNIT

pytestmark = [pytest.mark.long_form, pytest.mark.usefixtures("mended")]

STALLED_SECONDS = 2.0


async def lose_lease(live: Running, subject: str) -> str:
    """What time does to the lease of a stalled driver, in a moment; returns the saga's id."""
    sql = """
        UPDATE sagas SET lease_until = '-infinity', next_attempt_at = '-infinity'
        WHERE subject_id = $1 AND status = 'RUNNING' RETURNING id
    """
    return str(await live.product.database.run(lambda tx: tx.value(sql, subject)))


async def test_a_withdrawal_is_paid_once_though_its_first_driver_wakes_up_late(
    shop: Marketplace, replica: Running, world: World
) -> None:
    """It was about to read the number of the next transaction: the late one would carry the number after it."""
    [person] = await shop.people("50")
    target, _ = await world.outside_wallet()
    # The second look at the payer's account, after the one that checks what it holds.
    stalled = await world.fault(
        "horizon", f"/accounts/{person.address}", "delay", nth=2, times=1, seconds=STALLED_SECONDS
    )
    body = {"userId": person.id, "amount": "20.00", "destinationType": "crypto", "destinationRef": target}
    asked = asyncio.create_task(shop.post("/withdrawals", body))
    await eventually(stalled.fired, lambda fired: fired == 1)
    subject = await shop.live.value("SELECT id FROM withdrawals WHERE user_id = $1", person.id)
    saga = await lose_lease(shop.live, subject)
    await replica.product.engine.wait(saga, 10)
    assert (await shop.done("GET", f"/withdrawals/{subject}"))["status"] == "WITHDRAWAL_COMPLETED"
    assert (await asked).data["status"] == "WITHDRAWAL_COMPLETED"
    await asyncio.sleep(STALLED_SECONDS)
    assert await shop.on_chain(target) == 20 * UNIT
    assert await shop.units(person.id) == {"available": 30 * UNIT}
    await shop.assert_backed(person)
    assert await shop.live.value("SELECT count(*) FROM signer_lanes WHERE saga_id = $1", saga) == 0

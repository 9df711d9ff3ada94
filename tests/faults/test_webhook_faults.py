"""Airtm's webhooks as its sender makes them, on good days and bad ones (providers 8.6, F5 to F8): one credit each."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from offerhub.reconciliation.jobs import airtm_jobs
from offerhub.settings import load
from offerhub.settings.variable import SettingsError
from support.outside import World, eventually
from support.product import Marketplace, running, unique

UNIT: Final = 10_000_000


@pytest.fixture
async def payer(airtm_shop: Marketplace, world: World) -> AsyncIterator[str]:
    """A linked user, while Airtm's webhooks come to the product and nowhere else."""
    hook = f"{airtm_shop.live.url}/api/v1/webhooks/airtm"
    await world.control("POST", "airtm/webhooks", endpoints=[{"url": hook}])
    made = await airtm_shop.done("POST", "/users", {"externalUserId": unique("payer")}, status=201)
    email = f"{unique('payer')}@example.com"
    await airtm_shop.done("POST", f"/users/{made['id']}/airtm/link", {"email": email})
    yield str(made["id"])
    await world.mend()
    await airtm_shop.live.assert_conserved(world)
    async with world.http.post(
        f"{world.environ['OFFERHUB_SANDBOX_URL']}/_sim/airtm/webhooks", json={"endpoints": []}
    ):
        pass


async def top_up(shop: Marketplace, payer: str) -> dict[str, Any]:
    made: dict[str, Any] = await shop.done("POST", "/topups", {"userId": payer, "amount": "25.00"}, status=201)
    return made


async def succeeded(shop: Marketplace, topup: dict[str, Any], payer: str, count: int = 1) -> None:
    """Nobody asks: the news alone brings the money in, as often as it was paid."""
    sql = "SELECT status FROM topups WHERE id = $1"
    await eventually(lambda: shop.live.value(sql, topup["id"]), lambda status: status == "TOPUP_SUCCEEDED")
    assert await shop.units(payer) == {"available": count * 25 * UNIT}


async def heard(shop: Marketplace, topup: dict[str, Any], status: str = "PROCESSED") -> int:
    sql = "SELECT count(*) FROM webhook_events WHERE subject = $1 AND status = $2"
    return int(await shop.live.value(sql, topup["id"], status))


async def test_the_news_of_a_payment_credits_it(airtm_shop: Marketplace, world: World, payer: str) -> None:
    topup = await top_up(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    await succeeded(airtm_shop, topup, payer)


@pytest.mark.parametrize("kind", ["duplicate", "new_id", "both_secrets", "bare"])
async def test_f05_f07_however_it_is_told_it_is_credited_once(
    airtm_shop: Marketplace, world: World, payer: str, kind: str
) -> None:
    fault = await world.fault("webhooks", "payin.confirmed", kind, times=1)
    topup = await top_up(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    await succeeded(airtm_shop, topup, payer)
    assert await fault.fired() == 1
    # Whatever comes late finds it done.
    again = await top_up(airtm_shop, payer)
    await world.airtm_payin(again["airtmPayinId"], "confirm")
    await succeeded(airtm_shop, again, payer, 2)


@pytest.mark.parametrize("kind", ["bad_signature", "old_timestamp", "future_timestamp", "drop"])
async def test_f06_f07_what_is_not_believed_or_never_comes_is_found_by_a_look(
    airtm_shop: Marketplace, world: World, payer: str, kind: str
) -> None:
    fault = await world.fault("webhooks", "payin.confirmed", kind, times=1)
    topup = await top_up(airtm_shop, payer)

    async def processed() -> int:
        return await heard(airtm_shop, topup)

    async def fired() -> int:
        return await fault.fired()

    # Any news makes the service look: that of the creation must be behind us, or it finds the payment already.
    await eventually(processed, lambda count: count == 1)
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    await eventually(fired, lambda count: count == 1)
    if kind == "drop":
        assert await airtm_shop.units(payer) == {}
    done = await airtm_shop.done("POST", f"/topups/{topup['id']}/refresh")
    assert done["status"] == "TOPUP_SUCCEEDED"
    assert await airtm_shop.units(payer) == {"available": 25 * UNIT}


async def test_f06_news_out_of_order_converges(airtm_shop: Marketplace, world: World, payer: str) -> None:
    fault = await world.fault("webhooks", "payin.created", "reorder", times=1)
    topup = await top_up(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    await succeeded(airtm_shop, topup, payer)
    assert await fault.fired() == 1

    async def processed() -> int:
        return await heard(airtm_shop, topup)

    await eventually(processed, lambda count: count >= 2)
    await succeeded(airtm_shop, topup, payer)


async def test_f08_news_before_the_change_can_be_read_moves_nothing_by_itself(
    airtm_shop: Marketplace, world: World, payer: str
) -> None:
    fault = await world.fault("webhooks", "payin.confirmed", "early", seconds=1, times=1)
    topup = await top_up(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], "confirm")

    async def fired() -> int:
        return await fault.fired()

    await eventually(fired, lambda count: count == 1)

    async def settled() -> str:
        return str((await airtm_shop.done("POST", f"/topups/{topup['id']}/refresh"))["status"])

    await eventually(settled, lambda status: status == "TOPUP_SUCCEEDED")
    assert await airtm_shop.units(payer) == {"available": 25 * UNIT}


async def message_of(world: World, topup: dict[str, Any], event: str) -> dict[str, Any]:
    """The sender's record of what it has told of a top-up."""
    messages = (await world.control("GET", "airtm/webhooks/messages"))["messages"]
    return next(one for one in messages if one["type"] == event and topup["id"] in str(one))


async def test_f05_the_same_news_again_after_a_restart(
    airtm_shop: Marketplace, airtm_environ: dict[str, str], world: World, payer: str
) -> None:
    """Another process of ours gets the very message that one has dealt with already."""
    topup = await top_up(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    await succeeded(airtm_shop, topup, payer)
    message = await message_of(world, topup, "payin.confirmed")
    deliveries = "SELECT deliveries FROM webhook_events WHERE event_id = $1"
    before = await airtm_shop.live.value(deliveries, message["id"])
    async with running(airtm_environ, jobs=False) as restarted:
        hook = f"{restarted.url}/api/v1/webhooks/airtm"
        await world.control("POST", "airtm/webhooks", endpoints=[{"url": hook}])
        await world.control("POST", f"airtm/webhooks/messages/{message['id']}/replay")
        await eventually(
            lambda: airtm_shop.live.value(deliveries, message["id"]),
            lambda count: count == before + 1,
        )
    await succeeded(airtm_shop, topup, payer)
    assert (await airtm_shop.events(topup["id"])).count("topup.succeeded") == 1


async def test_f06_without_any_news_the_clock_s_jobs_find_it(
    airtm_shop: Marketplace, world: World, payer: str
) -> None:
    """Every webhook is dropped, nobody asks for a refresh: only polling is left."""
    fault = await world.fault("webhooks", ".", "drop")
    topup = await top_up(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    await eventually(fault.fired, lambda count: count >= 2)
    assert await airtm_shop.units(payer) == {}
    product = airtm_shop.live.product
    assert product.airtm is not None
    # As if the last look had been a while ago.
    await product.database.run(
        lambda tx: tx.execute("UPDATE topups SET checked_at = '-infinity' WHERE id = $1", topup["id"])
    )
    await next(one for one in airtm_jobs(product.database, product.airtm) if one.type == "sync-topups").work()
    await succeeded(airtm_shop, topup, payer)


async def test_f06_news_that_come_late_change_nothing_any_more(
    airtm_shop: Marketplace, world: World, payer: str
) -> None:
    fault = await world.fault("webhooks", "payin.confirmed", "delay", seconds=1, times=1)
    topup = await top_up(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    assert (await airtm_shop.done("POST", f"/topups/{topup['id']}/refresh"))["status"] == "TOPUP_SUCCEEDED"
    await eventually(fault.fired, lambda count: count == 1)
    message = await message_of(world, topup, "payin.confirmed")
    status = "SELECT status FROM webhook_events WHERE event_id = $1"
    await eventually(lambda: airtm_shop.live.value(status, message["id"]), lambda found: found == "PROCESSED")
    await succeeded(airtm_shop, topup, payer)
    assert (await airtm_shop.events(topup["id"])).count("topup.succeeded") == 1


async def test_f07_both_secrets_are_good_while_they_are_rotated(
    airtm_shop: Marketplace, world: World, payer: str
) -> None:
    """Airtm signs with its new secret and the old one; we know the old one only, and then the new one is retired."""
    await world.control("POST", "airtm/webhooks/endpoints/ep_1/rotate")
    topup = await top_up(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    await succeeded(airtm_shop, topup, payer)
    message = await message_of(world, topup, "payin.confirmed")
    attempts = (await world.control("GET", "airtm/webhooks/attempts"))["attempts"]
    assert [one["status"] for one in attempts if message["id"] in str(one)] == [200]


def test_f07_without_a_secret_it_refuses_to_start(airtm_environ: dict[str, str]) -> None:
    bare = {name: value for name, value in airtm_environ.items() if name != "AIRTM_WEBHOOK_SECRET"}
    with pytest.raises(SettingsError, match="AIRTM_WEBHOOK_SECRET"):
        load(bare)


async def test_f08_news_before_our_own_call_has_returned(airtm_shop: Marketplace, world: World, payer: str) -> None:
    """Airtm tells of a payin while its answer to us is still on the way."""
    slow = await world.fault("airtm", "/payins$", "slow_response", method="POST", seconds=1, times=1)
    asking = asyncio.create_task(top_up(airtm_shop, payer))
    await eventually(slow.fired, lambda count: count == 1)
    row = "SELECT id FROM topups WHERE user_id = $1"
    code = await eventually(lambda: airtm_shop.live.value(row, payer), lambda found: found is not None)
    payins = await eventually(lambda: world.airtm_payins(str(code)), bool)
    await world.airtm_payin(payins[0]["id"], "confirm")
    topup = await asking
    assert topup["id"] == code
    await succeeded(airtm_shop, topup, payer)

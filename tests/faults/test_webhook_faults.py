"""Airtm's webhooks as its sender makes them, on good days and bad ones (providers 8.6, F5 to F8): one credit each."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from support.outside import World, eventually
from support.product import Marketplace, unique

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

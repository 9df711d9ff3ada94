"""F25 (providers 8.6): credentials are revoked while we work, and our clock is wrong.

A provider that will not have us any more has done nothing: what had begun waits, nothing is made twice, and whoever
runs the service is told. A wrong clock costs the hints of Airtm's webhooks, and no money.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from offerhub.errors import WebhookSignatureInvalid
from offerhub.kernel.clock import ManualClock, SystemClock
from offerhub.sandbox import svix
from support.outside import World
from support.payers import link
from support.product import Marketplace, Person, unique

pytestmark = pytest.mark.usefixtures("mended")

UNIT: Final = 10_000_000


async def linked(shop: Marketplace, amount: str | None = None) -> str:
    """A user with an account at Airtm, and with money if some is named."""
    made = await shop.done("POST", "/users", {"externalUserId": unique("user")}, status=201)
    await link(shop, made["id"])
    if amount is not None:
        await shop.done("POST", f"/users/{made['id']}/balance/credit", {"amount": amount})
    return str(made["id"])


async def health(shop: Marketplace, dependency: str) -> dict[str, Any]:
    found: dict[str, Any] = (await shop.done("GET", "/health/detailed"))["dependencies"][dependency]
    return found


@pytest.mark.parametrize("status", [401, 403])
async def test_f25_airtm_will_not_have_us_from_the_start(airtm_shop: Marketplace, world: World, status: int) -> None:
    user_id = await linked(airtm_shop, "100.00")
    fault = await world.fault("airtm", ".", "unauthorized", status=status)
    body = {"userId": user_id, "amount": "40.00", "destinationType": "airtm_balance", "destinationRef": "mine"}
    key = unique("key")
    with capture_logs() as logs:
        await airtm_shop.refused("POST", "/withdrawals", body, status=502, code="PROVIDER_ERROR", key=key)
        asked = {"userId": user_id, "amount": "25.00"}
        await airtm_shop.refused("POST", "/topups", asked, status=502, code="PROVIDER_ERROR")
        shown = await health(airtm_shop, "airtm")
    assert await fault.fired() >= 3
    assert ("airtm.credentials_refused", "error") in {(one["event"], one["log_level"]) for one in logs}
    assert (shown["status"], shown["error"]) == ("degraded", "It refuses our credentials")
    assert await airtm_shop.units(user_id) == {"available": 100 * UNIT}
    await world.mend()
    assert (await airtm_shop.done("POST", "/withdrawals", body, status=201))["status"] == "WITHDRAWAL_CREATED"
    assert (await health(airtm_shop, "airtm"))["status"] == "healthy"
    await airtm_shop.live.assert_conserved(world)


async def test_f25_airtm_will_not_have_us_in_the_middle_of_a_payout(airtm_shop: Marketplace, world: World) -> None:
    """The payout is prepared, and whether it was committed cannot be read: the money stays held until it can be."""
    user_id = await linked(airtm_shop, "100.00")
    body = {"userId": user_id, "amount": "40.00", "destinationType": "airtm_balance", "destinationRef": "mine"}
    made = await airtm_shop.done("POST", "/withdrawals", body, status=201)
    fault = await world.fault("airtm", "/payouts/", "unauthorized", times=4)
    with capture_logs() as logs:
        done = await airtm_shop.done("POST", f"/withdrawals/{made['id']}/commit")
    assert await fault.fired() == 4
    assert [one["log_level"] for one in logs if one["event"] == "airtm.credentials_refused"] == ["error"] * 4
    assert done["status"] == "WITHDRAWAL_PENDING"
    assert [one["status"] for one in await world.airtm_payouts(made["id"])] == ["COMMITTED"]
    assert await airtm_shop.units(user_id) == {"available": 60 * UNIT, "withdrawing": 40 * UNIT}
    assert (await airtm_shop.events(made["id"])).count("withdrawal.committed") == 1
    await airtm_shop.live.assert_conserved(world)


async def test_f25_airtm_will_not_have_us_when_it_is_asked_about_a_payment(
    airtm_shop: Marketplace, world: World
) -> None:
    user_id = await linked(airtm_shop)
    made = await airtm_shop.done("POST", "/topups", {"userId": user_id, "amount": "25.00"}, status=201)
    await world.airtm_payin(made["airtmPayinId"], "confirm")
    fault = await world.fault("airtm", "/payins/", "unauthorized", times=1)
    path = f"/topups/{made['id']}/refresh"
    await airtm_shop.refused("POST", path, status=502, code="PROVIDER_ERROR")
    assert await fault.fired() == 1
    assert await airtm_shop.units(user_id) == {}
    assert (await airtm_shop.done("POST", path))["status"] == "TOPUP_SUCCEEDED"
    assert await airtm_shop.units(user_id) == {"available": 25 * UNIT}
    await airtm_shop.live.assert_conserved(world)


@pytest.mark.parametrize("status", [401, 403])
async def test_f25_trustless_work_will_not_have_us(
    shop: Marketplace, pair: tuple[Person, Person], world: World, status: int
) -> None:
    """A funding is refused before anything is signed; the same request pays once when the key is good again."""
    buyer, _ = pair
    order_id = await shop.order(*pair, "10.00", "ESCROW_FUNDING")
    before = await shop.units(buyer.id)
    fault = await world.fault("trustless_work", ".", "unauthorized", status=status)
    path = f"/orders/{order_id}/escrow/fund"
    with capture_logs() as logs:
        details = await shop.refused("POST", path, status=422, code="ESCROW_FUNDING_FAILED")
        shown = await health(shop, "trustlessWork")
    assert await fault.fired() >= 2
    assert details["status"] == status
    assert ("trustless_work.credentials_refused", "error") in {(one["event"], one["log_level"]) for one in logs}
    assert (shown["status"], shown["error"]) == ("degraded", "It refuses our credentials")
    assert await shop.units(buyer.id) == before
    await world.mend()
    assert (await shop.done("POST", path))["status"] == "IN_PROGRESS"
    await shop.live.assert_conserved(world)


async def test_f25_trustless_work_will_not_have_us_in_the_middle_of_a_release(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    """The milestone is marked, and its approval is not built. What is done stays done, and the rest is done once."""
    _, seller = pair
    order_id = await shop.order(*pair, "10.00", "IN_PROGRESS")
    sold = (await shop.units(seller.id)).get("available", 0)
    fault = await world.fault("trustless_work", "/escrow/single-release/approve-milestone", "unauthorized", times=1)
    path = f"/orders/{order_id}/resolution/release"
    details = await shop.refused("POST", path, status=502, code="PROVIDER_ERROR")
    assert await fault.fired() == 1
    state = details["contractState"]
    assert (state["marked"], state["approved"], state["released"]) == (1, 0, False), "as the chain shows it"
    assert (await shop.units(order_id)) == {"escrow": 10 * UNIT}
    assert (await shop.done("POST", path))["finalStatus"] == "RELEASED"
    assert (await shop.units(seller.id))["available"] - sold == 99_700_000
    assert (await shop.postings(order_id)).count("released") == 1
    await shop.live.assert_conserved(world)


async def test_f25_trustless_work_will_not_have_us_once_it_is_signed(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    """What is signed and stored does not need it: the same bytes go to the network, and are found there."""
    order_id = await shop.order(*pair, "10.00", "ESCROW_FUNDING")
    fault = await world.fault("trustless_work", "/helper/send-transaction", "unauthorized", times=1)
    assert (await shop.done("POST", f"/orders/{order_id}/escrow/fund"))["status"] == "IN_PROGRESS"
    assert await fault.fired() == 1
    assert (await shop.units(order_id)) == {"escrow": 10 * UNIT}
    await shop.live.assert_conserved(world)


@pytest.mark.parametrize("status", [401, 403])
async def test_f25_horizon_will_not_have_us(
    shop: Marketplace, pair: tuple[Person, Person], world: World, status: int
) -> None:
    """A private Horizon with a key: sending is not known to have failed, so the hash decides."""
    target, _ = await world.outside_wallet()
    sending = await world.fault("horizon", "/transactions$", "unauthorized", status=status, method="POST", times=1)
    looking = await world.fault(
        "horizon", "/transactions/[0-9a-f]{64}$", "unauthorized", status=status, method="GET", times=2
    )
    body = {"userId": pair[0].id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    with capture_logs() as logs:
        done = await shop.done("POST", "/withdrawals", body, status=201)
    assert (await sending.fired(), await looking.fired()) == (1, 2)
    told = [one["log_level"] for one in logs if one["event"] == "horizon.credentials_refused"]
    assert told == ["error"] * 3
    assert done["status"] == "WITHDRAWAL_COMPLETED"
    assert await shop.on_chain(target) == 5 * UNIT
    await shop.live.assert_conserved(world)


@pytest.mark.parametrize(("minutes", "taken"), [(-10, False), (-4, True), (4, True), (10, False)])
async def test_f25_our_clock_is_wrong(airtm_shop: Marketplace, world: World, minutes: int, taken: bool) -> None:
    """Airtm signs by its own clock. Ten minutes off, its news is refused, and a look finds the money all the same."""
    user_id = await linked(airtm_shop)
    made = await airtm_shop.done("POST", "/topups", {"userId": user_id, "amount": "25.00"}, status=201)
    await world.airtm_payin(made["airtmPayinId"], "confirm")
    now = SystemClock().now()
    inbox = replace(airtm_shop.live.product.inbox, clock=ManualClock(now + timedelta(minutes=minutes)))
    body = f'{{"type": "payin.confirmed", "data": {{"code": "{made["id"]}"}}}}'.encode()
    secret = world.environ["AIRTM_WEBHOOK_SECRET"]
    signed = svix.headers([secret], unique("msg"), int(now.timestamp()), body)
    if taken:
        assert (await inbox.from_airtm(signed, body)).processed is True
    else:
        with pytest.raises(WebhookSignatureInvalid):
            await inbox.from_airtm(signed, body)
        kept = "SELECT count(*) FROM webhook_events WHERE event_id = $1"
        assert await airtm_shop.live.value(kept, signed["svix-id"]) == 0
    assert (await airtm_shop.done("POST", f"/topups/{made['id']}/refresh"))["status"] == "TOPUP_SUCCEEDED"
    assert await airtm_shop.units(user_id) == {"available": 25 * UNIT}
    await airtm_shop.live.assert_conserved(world)

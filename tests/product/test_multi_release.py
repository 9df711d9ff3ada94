"""Multi-release orders: each milestone pays by itself; what is left is released, refunded or disputed at once."""

from typing import Any

import pytest

from support.product import Marketplace, Person

UNIT = 10_000_000
PARTS = [("m1", "30.00"), ("m2", "50.00"), ("m3", "20.00")]

pytestmark = pytest.mark.usefixtures("mended")


async def order_of(
    shop: Marketplace, pair: tuple[Person, Person], parts: list[tuple[str, str]], stage: str = "IN_PROGRESS"
) -> str:
    milestones = [{"ref": ref, "title": f"Part {ref}", "amount": amount} for ref, amount in parts]
    total = f"{sum(float(amount) for _, amount in parts):.2f}"
    return await shop.order(*pair, total, stage, milestones=milestones, escrow_type="multi-release")


async def complete(shop: Marketplace, order_id: str, *refs: str) -> None:
    for ref in refs:
        await shop.done("POST", f"/orders/{order_id}/milestones/{ref}/complete")


def payouts(order: dict[str, Any]) -> dict[str, str]:
    return {one["ref"]: one["payout"]["status"] for one in order["milestones"]}


async def contract_of(shop: Marketplace, order: dict[str, Any]) -> dict[str, Any]:
    """What the chain says of the order's contract."""
    contracts = (await shop.world.control("GET", "state"))["contracts"]
    return next(one for one in contracts if one["address"] == order["escrow"]["contractId"])


async def available(shop: Marketplace, person: Person) -> int:
    return (await shop.units(person.id)).get("available", 0)


async def test_milestones_are_paid_one_by_one_until_the_order_is_closed(
    shop: Marketplace, pair: tuple[Person, Person]
) -> None:
    buyer, seller = pair
    earned, fees = await available(shop, seller), (await shop.fees()).get("trustless_work", 0)
    order_id = await order_of(shop, pair, PARTS)
    one = f"/orders/{order_id}"
    order = await shop.done("GET", one)
    assert order["escrowType"] == "multi-release"
    assert payouts(order) == {"m1": "UNPAID", "m2": "UNPAID", "m3": "UNPAID"}
    details = await shop.refused("POST", f"{one}/milestones/m1/release", status=409, code="INVALID_STATE")
    assert (details["currentState"], details["allowedStates"]) == ("OPEN", ["COMPLETED"])
    await complete(shop, order_id, "m1")

    order = await shop.done("POST", f"{one}/milestones/m1/release", {"reason": "fine"})
    assert (order["status"], order["escrow"]["status"]) == ("IN_PROGRESS", "FUNDED")
    assert payouts(order) == {"m1": "RELEASED", "m2": "UNPAID", "m3": "UNPAID"}
    payout = order["milestones"][0]["payout"]
    # 0.3 % of 30.00 is 0.09.
    assert (payout["sellerAmount"], payout["buyerAmount"], payout["protocolFee"]) == ("29.91", "0.00", "0.09")
    assert payout["paidAt"] is not None
    assert await available(shop, seller) - earned == 299_100_000
    assert (await shop.fees())["trustless_work"] - fees == 900_000
    assert await shop.units(order_id) == {"escrow": 70 * UNIT}
    contract = await contract_of(shop, order)
    assert contract["usdc"] == "70.0000000"
    assert [part["released"] for part in contract["milestones"]] == [True, False, False]
    await shop.assert_backed(buyer, seller)
    for move in ("complete", "release", "refund"):
        body = {"reason": "again"} if move != "complete" else None
        await shop.refused("POST", f"{one}/milestones/m1/{move}", body, status=409, code="INVALID_STATE")
    await shop.refused("POST", f"{one}/milestones/m9/release", status=404, code="MILESTONE_NOT_FOUND")

    order = await shop.done("POST", f"{one}/milestones/m3/refund", {"reason": "not needed"})
    assert payouts(order) == {"m1": "RELEASED", "m2": "UNPAID", "m3": "REFUNDED"}
    assert order["milestones"][2]["status"] == "OPEN"
    assert await shop.units(order_id) == {"escrow": 50 * UNIT}
    await shop.refused("POST", f"{one}/milestones/m3/complete", status=409, code="INVALID_STATE")

    await complete(shop, order_id, "m2")
    order = await shop.done("POST", f"{one}/milestones/m2/release")
    assert (order["status"], order["finalStatus"], order["escrow"]["status"]) == ("CLOSED", "RELEASED", "RELEASED")
    assert payouts(order) == {"m1": "RELEASED", "m2": "RELEASED", "m3": "REFUNDED"}
    assert await shop.units(order_id) == {}
    assert await available(shop, seller) - earned == 299_100_000 + 498_500_000
    assert (await contract_of(shop, order))["usdc"] == "0.0000000"
    assert await shop.postings(order_id) == [
        *("hold", "fund_escrow", "milestone_released", "milestone_refunded", "milestone_released")
    ]
    assert (await shop.events(order_id))[6:] == [
        *("escrow.milestone_completed", "escrow.milestone_release_requested", "escrow.milestone_released"),
        *("escrow.milestone_refund_requested", "escrow.milestone_refunded"),
        *("escrow.milestone_completed", "escrow.milestone_release_requested", "escrow.milestone_released"),
        *("order.released", "order.closed"),
    ]
    await shop.assert_backed(buyer, seller)
    await shop.live.assert_books_hold()

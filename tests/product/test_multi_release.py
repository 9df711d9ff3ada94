"""Multi-release orders: each milestone pays by itself; what is left is released, refunded or disputed at once."""

import asyncio
from decimal import Decimal
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
    total = str(sum(Decimal(amount) for _, amount in parts))
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


async def test_what_remains_is_released_at_once(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    buyer, seller = pair
    earned = await available(shop, seller)
    order_id = await order_of(shop, pair, PARTS)
    one = f"/orders/{order_id}"
    await complete(shop, order_id, "m2", "m3")
    await shop.done("POST", f"{one}/milestones/m2/release")
    details = await shop.refused("POST", f"{one}/resolution/release", status=409, code="INVALID_STATE")
    assert details["openMilestones"] == ["m1"]
    await complete(shop, order_id, "m1")
    order = await shop.done("POST", f"{one}/resolution/release", {"reason": "all done"})
    assert (order["status"], order["finalStatus"], order["escrow"]["status"]) == ("CLOSED", "RELEASED", "RELEASED")
    assert payouts(order) == dict.fromkeys(("m1", "m2", "m3"), "RELEASED")
    assert await available(shop, seller) - earned == 997_000_000
    assert (await shop.events(order_id))[-5:] == [
        *("order.release_requested", "escrow.milestone_released", "escrow.milestone_released"),
        *("order.released", "order.closed"),
    ]
    assert (await shop.postings(order_id))[2:] == ["milestone_released"] * 3
    assert [kind for kind, _ in await shop.sagas(order_id)] == ["escrow.deploy", "escrow.fund", "order.release"]
    [ended] = await shop.live.rows(
        "SELECT payload FROM events WHERE aggregate_id = $1 AND type = 'order.released'", order_id
    )
    told = ended["payload"]
    assert (told["amount"], told["netAmount"], told["protocolFee"]) == ("100.00", "99.70", "0.30")
    await shop.assert_backed(buyer, seller)


async def test_what_remains_is_paid_back_at_once(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    buyer, seller = pair
    spent, earned = await available(shop, buyer), await available(shop, seller)
    first, second = [await order_of(shop, pair, PARTS) for _ in range(2)]
    await complete(shop, second, "m1")
    await shop.done("POST", f"/orders/{second}/milestones/m1/release")
    ends = []
    for order_id in (first, second):
        order = await shop.done("POST", f"/orders/{order_id}/resolution/refund", {"reason": "changed my mind"})
        assert (order["status"], order["escrow"]["status"]) == ("CLOSED", order["finalStatus"])
        assert (await contract_of(shop, order))["usdc"] == "0.0000000"
        ends.append((order["finalStatus"], payouts(order)))
    # Once the seller was paid anything, an order has ended as released.
    assert ends == [
        ("REFUNDED", dict.fromkeys(("m1", "m2", "m3"), "REFUNDED")),
        ("RELEASED", {"m1": "RELEASED", "m2": "REFUNDED", "m3": "REFUNDED"}),
    ]
    assert (await shop.events(first))[-2:] == ["order.refunded", "order.closed"]
    assert (await shop.events(second))[-2:] == ["order.released", "order.closed"]
    # 0.3 % of 100.00 and of 70.00 stay with the protocol, and the seller has 30.00 less 0.3 %.
    assert await available(shop, seller) - earned == 299_100_000
    assert spent - await available(shop, buyer) == 3_000_000 + 300_000_000 + 2_100_000
    await shop.assert_backed(buyer, seller)


@pytest.mark.parametrize(
    ("decision", "parts", "ended", "gains"),
    [
        ("FULL_RELEASE", {}, {"m2": "RELEASED", "m3": "RELEASED"}, (697_900_000, 0)),
        ("FULL_REFUND", {}, {"m2": "REFUNDED", "m3": "REFUNDED"}, (0, 697_900_000)),
        (
            "SPLIT",
            # m3 is completed, so it goes to the seller first; of m2 the seller gets what is left of it.
            {"releaseAmount": "45.00", "refundAmount": "25.00"},
            {"m2": "SPLIT", "m3": "RELEASED"},
            (448_650_000, 249_250_000),
        ),
        (
            "SPLIT",
            {"releaseAmount": "0.00", "refundAmount": "70.00"},
            {"m2": "REFUNDED", "m3": "REFUNDED"},
            (0, 697_900_000),
        ),
    ],
)
async def test_a_dispute_is_about_what_remains(
    shop: Marketplace,
    pair: tuple[Person, Person],
    decision: str,
    parts: dict[str, str],
    ended: dict[str, str],
    gains: tuple[int, int],
) -> None:
    buyer, seller = pair
    order_id = await order_of(shop, pair, PARTS)
    one = f"/orders/{order_id}"
    await complete(shop, order_id, "m1", "m3")
    await shop.done("POST", f"{one}/milestones/m1/release")
    before = await available(shop, seller), await available(shop, buyer)
    body = {"openedBy": "BUYER", "reason": "QUALITY_ISSUE"}
    dispute = (await shop.done("POST", f"{one}/resolution/dispute", body, status=201))["id"]
    for move in ("milestones/m3/release", "resolution/release"):
        await shop.refused("POST", f"{one}/{move}", status=409, code="INVALID_STATE")
    await shop.done("POST", f"/disputes/{dispute}/assign", {"assignedTo": "agent-1"})
    if decision == "SPLIT":
        # The first milestone is paid: only 70.00 are left to share out.
        wrong = {"decision": "SPLIT", "releaseAmount": "50.00", "refundAmount": "50.00"}
        details = await shop.refused("POST", f"/disputes/{dispute}/resolve", wrong, status=422, code="INVALID_AMOUNT")
        assert details["orderAmount"] == "70.00"
    resolved = await shop.done("POST", f"/disputes/{dispute}/resolve", {"decision": decision, **parts})
    order = resolved["order"]
    assert (resolved["status"], resolved["resolutionDecision"]) == ("RESOLVED", decision)
    assert Decimal(resolved["releaseAmount"]) + Decimal(resolved["refundAmount"]) == 70
    assert (order["status"], order["finalStatus"]) == ("CLOSED", "RELEASED")
    assert payouts(order) == {"m1": "RELEASED", **ended}
    assert (await available(shop, seller) - before[0], await available(shop, buyer) - before[1]) == gains
    assert await shop.units(order_id) == {}
    assert (await contract_of(shop, order))["usdc"] == "0.0000000"
    assert (await shop.events(dispute))[-1] == "dispute.resolved"
    await shop.assert_backed(buyer, seller)
    await shop.live.assert_books_hold()


async def test_what_an_order_must_say_to_be_multi_release(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    buyer, seller = pair
    body: dict[str, Any] = {"buyer_id": buyer.id, "seller_id": seller.id, "amount": "10.00", "title": "A logo"}
    two = [{"ref": "a", "title": "A", "amount": "4.00"}, {"ref": "b", "title": "B", "amount": "5.00"}]
    multi = {**body, "escrowType": "multi-release"}
    for wrong in ({"escrow_type": "multi-release"}, {"escrow_type": "several"}, {"escrow_type": 2}):
        await shop.refused("POST", "/orders", {**body, **wrong}, status=400, code="VALIDATION_ERROR")
    await shop.refused("POST", "/orders", {**multi, "milestones": two}, status=400, code="INVALID_AMOUNT")
    made = await shop.done("POST", "/orders", {**multi, "milestones": [*two, {"ref": "c", "title": "C"}]}, status=201)
    assert made["escrowType"] == "multi-release"
    assert [(part["amount"], part["payout"]) for part in made["milestones"]] == [
        *(("4.00", None), ("5.00", None), ("1.00", None))
    ]
    # The type is one of the terms that a client's reference stands for.
    named = {**body, "client_order_ref": "multi-1", "milestones": [{"ref": "a", "title": "A"}]}
    single = await shop.done("POST", "/orders", named, status=201)
    assert single["escrowType"] == "single-release"
    again = {**named, "escrow_type": "multi-release"}
    await shop.refused("POST", "/orders", again, status=409, code="ORDER_REF_REUSED")
    order_id = await shop.order(*pair, "10.00", "IN_PROGRESS", milestones=[{"ref": "a", "title": "A"}])
    await complete(shop, order_id, "a")
    for move in ("release", "refund"):
        path, reason = f"/orders/{order_id}/milestones/a/{move}", {"reason": "x"}
        details = await shop.refused("POST", path, reason, status=409, code="INVALID_STATE")
        assert details["escrowType"] == "single-release"


async def test_milestones_are_paid_side_by_side_and_each_once(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    """All at once, each asked for three times: every one is paid once, and the last one closes the order."""
    _, seller = pair
    earned = await available(shop, seller)
    order_id = await order_of(shop, pair, PARTS)
    await complete(shop, order_id, "m1", "m2", "m3")
    heard = await asyncio.gather(
        *(shop.send("POST", f"/orders/{order_id}/milestones/{ref}/release") for ref, _ in PARTS for _ in range(3)),
        shop.send("POST", f"/orders/{order_id}/resolution/release"),
    )
    assert sorted({one.status for one in heard}) == [200, 409]
    assert {one.code for one in heard if one.status == 409} == {"INVALID_STATE"}
    order = await shop.done("GET", f"/orders/{order_id}")
    assert (order["status"], order["finalStatus"]) == ("CLOSED", "RELEASED")
    assert (await shop.postings(order_id))[2:] == ["milestone_released"] * 3
    assert await available(shop, seller) - earned == 997_000_000
    assert (await shop.events(order_id)).count("order.closed") == 1

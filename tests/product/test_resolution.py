"""Out of the contract without a dispute: release, refund, and one idempotency key across a saga (contract 2.8)."""

import asyncio

from support.product import Marketplace, Person

UNIT = 10_000_000


async def test_a_release_pays_the_seller_net_of_the_protocol_s_fee(
    shop: Marketplace, pair: tuple[Person, Person]
) -> None:
    buyer, seller = pair
    earned = (await shop.units(seller.id)).get("available", 0)
    fees = await shop.fees()
    milestones = [{"ref": "m1", "title": "One", "amount": "30.00"}, {"ref": "m2", "title": "Two", "amount": "50.00"}]
    order_id = await shop.order(buyer, seller, "80.00", "IN_PROGRESS", milestones=milestones)
    await shop.done("POST", f"/orders/{order_id}/milestones/m1/complete")
    counts = await shop.counts()
    details = await shop.refused("POST", f"/orders/{order_id}/resolution/release", status=409, code="INVALID_STATE")
    assert details["openMilestones"] == ["m2"]
    assert await shop.counts() == counts
    await shop.done("POST", f"/orders/{order_id}/milestones/m2/complete")

    released = await shop.done(
        "POST", f"/orders/{order_id}/resolution/release", {"reason": "fine", "requestedBy": "x"}
    )
    assert (released["status"], released["finalStatus"]) == ("CLOSED", "RELEASED")
    assert released["escrow"]["status"] == "RELEASED"
    assert released["escrow"]["releasedAt"] is not None
    assert released["closedAt"] is not None
    # 0.3 % of 80.00 is 0.24.
    assert (await shop.units(seller.id))["available"] - earned == 797_600_000
    assert (await shop.fees())["trustless_work"] - fees.get("trustless_work", 0) == 2_400_000
    assert "platform" not in await shop.fees()
    assert await shop.units(order_id) == {}
    assert (await shop.events(order_id))[-3:] == ["order.release_requested", "order.released", "order.closed"]
    assert await shop.postings(order_id) == ["hold", "fund_escrow", "released"]
    await shop.assert_backed(buyer, seller)

    for move in ("release", "refund"):
        await shop.refused(
            "POST", f"/orders/{order_id}/resolution/{move}", {"reason": "again"}, status=409, code="INVALID_STATE"
        )
    dispute = {"openedBy": "SELLER", "reason": "OTHER"}
    await shop.refused("POST", f"/orders/{order_id}/resolution/dispute", dispute, status=409, code="INVALID_STATE")
    assert await shop.postings(order_id) == ["hold", "fund_escrow", "released"]


async def test_a_refund_pays_the_buyer_back(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    buyer, seller = pair
    before = (await shop.units(buyer.id))["available"]
    order_id = await shop.order(buyer, seller, "100.00", "IN_PROGRESS", milestones=[{"ref": "m", "title": "M"}])
    path = f"/orders/{order_id}/resolution/refund"
    for bad in ({}, {"reason": ""}, {"reason": "  "}, {"reason": None}, None):
        await shop.refused("POST", path, bad, status=400, code="VALIDATION_ERROR")
    refunded = await shop.done("POST", path, {"reason": "not delivered", "requestedBy": "support"})
    assert (refunded["status"], refunded["finalStatus"]) == ("CLOSED", "REFUNDED")
    assert refunded["escrow"]["status"] == "REFUNDED"
    assert refunded["escrow"]["refundedAt"] is not None
    # The protocol's 0.3 % is taken from whatever the contract pays out.
    assert before - (await shop.units(buyer.id))["available"] == 3_000_000
    assert (await shop.events(order_id))[-3:] == ["order.refund_requested", "order.refunded", "order.closed"]
    assert await shop.postings(order_id) == ["hold", "fund_escrow", "refunded"]
    await shop.assert_backed(buyer, seller)


async def test_one_key_across_a_saga_is_one_payout_and_one_answer(
    shop: Marketplace, pair: tuple[Person, Person]
) -> None:
    order_id = await shop.order(*pair, "7.00", "IN_PROGRESS")
    path = f"/orders/{order_id}/resolution/release"
    first = await shop.post(path, {"reason": "done"}, key="release-1")
    again = await shop.post(path, {"reason": "done"}, key="release-1")
    assert (first.status, first.data["status"]) == (200, "CLOSED")
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotency-replay"] == "true"
    await shop.refused("POST", path, {"reason": "other"}, status=409, code="IDEMPOTENCY_KEY_REUSED", key="release-1")
    assert await shop.sagas(order_id) == [
        ("escrow.deploy", "SUCCEEDED"),
        ("escrow.fund", "SUCCEEDED"),
        ("order.release", "SUCCEEDED"),
    ]
    assert (await shop.postings(order_id)).count("released") == 1


async def test_duplicates_while_the_saga_runs_get_its_answer(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    order_id = await shop.order(*pair, "7.00", "IN_PROGRESS")
    path = f"/orders/{order_id}/resolution/refund"
    heard = await asyncio.gather(*(shop.post(path, {"reason": "double click"}, key="refund-1") for _ in range(6)))
    won = [one for one in heard if one.status == 200]
    assert won
    assert len({one.body for one in won}) == 1
    for lost in heard:
        assert lost.status == 200 or (lost.status, lost.code) == (409, "IDEMPOTENCY_KEY_IN_PROGRESS")
    assert (await shop.postings(order_id)).count("refunded") == 1
    assert (await shop.post(path, {"reason": "double click"}, key="refund-1")).body == won[0].body

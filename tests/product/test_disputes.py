"""Disputes: opened once, reviewed, resolved with every cent accounted for (contract 2.8, 2.9, 5.4)."""

from typing import Any

import pytest

from support.product import Marketplace, Person

UNIT = 10_000_000
DISPUTE = {"openedBy": "BUYER", "reason": "NOT_DELIVERED"}


async def available(shop: Marketplace, *people: Person) -> list[int]:
    """Available units of each."""
    return [(await shop.units(person.id)).get("available", 0) for person in people]


async def test_a_dispute_freezes_the_order(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    order_id = await shop.order(*pair, "10.00", "IN_PROGRESS", milestones=[{"ref": "m", "title": "M"}])
    path = f"/orders/{order_id}/resolution/dispute"
    opened = await shop.done("POST", path, {**DISPUTE, "evidence": ["a mail"], "orderId": order_id}, status=201)
    assert opened["id"].startswith("dsp_")
    assert (opened["orderId"], opened["status"]) == (order_id, "OPEN")
    assert (opened["openedBy"], opened["reason"], opened["evidence"]) == ("BUYER", "NOT_DELIVERED", ["a mail"])
    assert opened["resolutionDecision"] is opened["resolvedAt"] is opened["assignedTo"] is None
    assert opened["order"]["status"] == "DISPUTED"
    assert opened["order"]["escrow"]["status"] == "DISPUTED"
    assert opened["order"]["dispute"]["id"] == opened["id"]
    assert await shop.events(opened["id"]) == ["dispute.opened"]

    details = await shop.refused("POST", path, DISPUTE, status=409, code="DISPUTE_ALREADY_OPEN")
    assert details["disputeId"] == opened["id"]
    for move in ("release", "refund"):
        await shop.refused(
            "POST", f"/orders/{order_id}/resolution/{move}", {"reason": "x"}, status=409, code="INVALID_STATE"
        )
    await shop.refused("POST", f"/orders/{order_id}/milestones/m/complete", status=409, code="INVALID_STATE")

    one = f"/disputes/{opened['id']}"
    resolve = {"decision": "FULL_RELEASE"}
    details = await shop.refused("POST", f"{one}/resolve", resolve, status=409, code="INVALID_STATE")
    assert (details["currentState"], details["allowedStates"]) == ("OPEN", ["UNDER_REVIEW"])
    assigned = await shop.done("POST", f"{one}/assign", {"agentId": "ann", "notes": "urgent"})
    assert (assigned["status"], assigned["assignedTo"]) == ("UNDER_REVIEW", "ann")
    await shop.refused("POST", f"{one}/assign", {"assignedTo": "ben"}, status=409, code="INVALID_STATE")
    assert (await shop.done("GET", one))["assignedTo"] == "ann"
    assert await shop.units(order_id) == {"escrow": 10 * UNIT}, "so far no money has moved"


RESOLUTIONS: list[tuple[dict[str, str], int, int, str]] = [
    # 0.3 % of each part goes to the protocol.
    ({"decision": "SPLIT", "releaseAmount": "60.00", "refundAmount": "40.00"}, 598_200_000, 398_800_000, "RELEASED"),
    ({"decision": "SPLIT", "release_amount": "0.01", "refund_amount": "99.99"}, 99_700, 996_900_300, "RELEASED"),
    ({"decision": "SPLIT", "releaseAmount": "100.00", "refundAmount": "0.00"}, 997_000_000, 0, "RELEASED"),
    ({"decision": "SPLIT", "releaseAmount": "0.00", "refundAmount": "100.00"}, 0, 997_000_000, "RELEASED"),
    ({"decision": "FULL_RELEASE", "note": "delivered"}, 997_000_000, 0, "RELEASED"),
    ({"decision": "FULL_REFUND"}, 0, 997_000_000, "REFUNDED"),
]


@pytest.mark.parametrize(("decision", "seller_gets", "buyer_gets", "end"), RESOLUTIONS)
async def test_resolutions(
    shop: Marketplace,
    pair: tuple[Person, Person],
    decision: dict[str, str],
    seller_gets: int,
    buyer_gets: int,
    end: str,
) -> None:
    buyer, seller = pair
    order_id, dispute_id = await shop.disputed(buyer, seller, "100.00")
    bought, sold = await available(shop, buyer, seller)
    resolved = await shop.done("POST", f"/disputes/{dispute_id}/resolve", decision)
    assert (resolved["status"], resolved["resolutionDecision"]) == ("RESOLVED", decision["decision"])
    assert resolved["decisionNote"] == decision.get("note")
    assert resolved["resolvedAt"] is not None
    order = resolved["order"]
    assert (order["status"], order["finalStatus"], order["escrow"]["status"]) == ("CLOSED", end, end)
    assert await available(shop, buyer, seller) == [bought + buyer_gets, sold + seller_gets]
    assert await shop.units(order_id) == {}
    assert await shop.events(dispute_id) == ["dispute.opened", "dispute.under_review", "dispute.resolved"]
    assert (await shop.events(order_id))[-2:] == [f"order.{end.lower()}", "order.closed"]
    await shop.assert_backed(buyer, seller)
    await shop.refused(
        "POST", f"/disputes/{dispute_id}/resolve", {"decision": "FULL_REFUND"}, status=409, code="INVALID_STATE"
    )
    await shop.refused(
        "POST", f"/orders/{order_id}/resolution/dispute", DISPUTE, status=409, code="DISPUTE_ALREADY_OPEN"
    )
    assert await available(shop, buyer, seller) == [bought + buyer_gets, sold + seller_gets]


async def test_wrong_splits_and_bodies_change_nothing(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    order_id, dispute_id = await shop.disputed(*pair, "10.00")
    path = f"/disputes/{dispute_id}/resolve"
    before = await shop.counts()
    wrong: list[dict[str, Any]] = [
        {"releaseAmount": "6.00", "refundAmount": "4.01"},
        {"releaseAmount": "6.00", "refundAmount": "3.99"},
        {"releaseAmount": "10.00"},
        {"refundAmount": "10.00"},
        {},
        {"releaseAmount": "0.00", "refundAmount": "0.00"},
        {"releaseAmount": "11.00", "refundAmount": "-1.00"},
    ]
    for parts in wrong:
        await shop.refused("POST", path, {"decision": "SPLIT", **parts}, status=422, code="INVALID_AMOUNT")
    for body in ({}, {"decision": "split"}, {"decision": None}, {"decision": "SPLIT", "amount": "1.00"}):
        await shop.refused("POST", path, body, status=400, code="VALIDATION_ERROR")
    long = {"decision": "FULL_REFUND", "note": "x" * 5001}
    await shop.refused("POST", path, long, status=400, code="VALIDATION_ERROR")
    assert await shop.counts() == before
    assert await shop.units(order_id) == {"escrow": 10 * UNIT}
    assert (await shop.done("GET", f"/disputes/{dispute_id}"))["status"] == "UNDER_REVIEW"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"openedBy": "BUYER"},
        {"reason": "OTHER"},
        {"openedBy": "buyer", "reason": "OTHER"},
        {"openedBy": "BUYER", "reason": "BORED"},
        {**DISPUTE, "evidence": "text"},
        {**DISPUTE, "evidence": ["x"] * 21},
        {**DISPUTE, "evidence": ["x" * 2001]},
        {**DISPUTE, "orderId": "ord_other"},
    ],
)
async def test_bad_disputes(shop: Marketplace, frozen: str, body: dict[str, Any]) -> None:
    before = await shop.counts()
    path = f"/orders/{frozen}/resolution/dispute"
    await shop.refused("POST", path, body, status=400, code="VALIDATION_ERROR")
    assert await shop.counts() == before


@pytest.fixture(scope="module")
async def frozen(shop: Marketplace, pair: tuple[Person, Person]) -> str:
    """An order in progress."""
    return await shop.order(*pair, "1.00", "IN_PROGRESS")


async def test_lists_filter(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    order_id, dispute_id = await shop.disputed(*pair, "2.00")
    mine = await shop.done("GET", f"/disputes?orderId={order_id}")
    assert [one["id"] for one in mine] == [dispute_id]
    assert await shop.done("GET", f"/disputes?orderId={order_id}&status=OPEN") == []
    reviewed = await shop.done("GET", "/disputes?status=UNDER_REVIEW&openedBy=BUYER")
    assert dispute_id == reviewed[0]["id"], "newest first"
    assert await shop.done("GET", f"/disputes?orderId={order_id}&openedBy=SELLER") == []
    for query in ("status=open", "openedBy=ME", "limit=3"):
        await shop.refused("GET", f"/disputes?{query}", status=400, code="VALIDATION_ERROR")
    for body in ({}, {"assignedTo": ""}, {"assignedTo": "x" * 256}):
        await shop.refused("POST", f"/disputes/{dispute_id}/assign", body, status=400, code="VALIDATION_ERROR")

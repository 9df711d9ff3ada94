"""Contract 2.7 to 2.9: an order from its creation to its end, and disputes; with events (6.2) and audit (6.3)."""

from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest

from support.product import Marketplace, Person, unique
from support.wire import (
    AMOUNT,
    CONTRACT,
    CURRENCY,
    DISPUTE,
    HASH,
    MILESTONE,
    ORDER,
    TEXT,
    TIME,
    Omittable,
    an_id,
    check,
    opened,
    told,
)

UNIT = 10_000_000
ESCROW_FACTS = {"orderId": an_id("ord"), "escrowId": an_id("esc"), "amount": AMOUNT}
CONTRACT_FACTS = {**ESCROW_FACTS, "trustlessContractId": CONTRACT}
REQUESTED = {"orderId": an_id("ord"), "requestedBy": TEXT, "requestedAt": TIME, "reason": Omittable(TEXT)}
ENDED = {
    "orderId": an_id("ord"),
    "amount": AMOUNT,
    "currency": CURRENCY,
    "netAmount": AMOUNT,
    "platformFee": AMOUNT,
    "protocolFee": AMOUNT,
}
CLOSED = {"orderId": an_id("ord"), "finalStatus": ("RELEASED", "REFUNDED"), "closedAt": TIME}
CREDIT = {
    "userId": an_id("usr"),
    "amount": AMOUNT,
    "currency": CURRENCY,
    "source": TEXT,
    "sourceId": an_id("ord"),
    "previousAvailableBalance": AMOUNT,
    "newAvailableBalance": AMOUNT,
}


def terms(pair: tuple[Person, Person], **more: Any) -> dict[str, Any]:
    return {"buyer_id": pair[0].id, "seller_id": pair[1].id, "amount": "10.00", "title": "A logo", **more}


async def escrow_of(shop: Marketplace, order_id: str) -> str:
    return str((await shop.done("GET", f"/orders/{order_id}"))["escrow"]["id"])


@pytest.mark.claims(
    "POST /orders",
    "GET /orders/{order_id}",
    "GET /orders",
    "GET /orders/{order_id}/milestones",
    "POST /orders/{order_id}/reserve",
    "POST /orders/{order_id}/cancel",
)
async def test_an_order_until_it_is_cancelled(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    buyer, seller = pair
    sent = terms(pair, client_order_ref=unique("ref"), description="In two colours", service_id="svc_1")
    sent["milestones"] = [
        {"milestone_ref": "m1", "title": "One", "amount": "4.00"},
        {"ref": "m2", "description": "Two"},
    ]
    order = opened(await shop.post("/orders", sent), "SUCC", ORDER, 201)
    one = f"/orders/{order['id']}"
    assert (order["status"], order["escrow"], order["dispute"]) == ("ORDER_CREATED", None, None)
    assert opened(await shop.post("/orders", sent), "SUCC", ORDER, 200) == order
    assert opened(await shop.get(one), "SUCC", ORDER) == order
    assert order in opened(await shop.get("/orders?limit=100"), "LIST", ORDER)
    milestones = opened(await shop.get(f"{one}/milestones"), "SUCC", [MILESTONE])
    assert [(part["ref"], part["title"], part["amount"]) for part in milestones] == [
        *(("m1", "One", "4.00"), ("m2", "Two", "6.00")),
    ]
    assert (milestones[0]["milestoneRef"], milestones[0]["description"]) == ("m1", "One")
    available = (await shop.balance(buyer))[0]

    reserved = opened(await shop.post(f"{one}/reserve"), "SUCC", ORDER)
    assert reserved["status"] == "FUNDS_RESERVED"
    canceled = opened(await shop.post(f"{one}/cancel", {"reason": "No", "canceledBy": "x"}), "SUCC", ORDER)
    assert (canceled["status"], canceled["finalStatus"]) == ("CLOSED", "CANCELED")
    assert (await shop.balance(buyer))[0] == available
    assert await shop.postings(order["id"]) == ["hold", "void"]

    created, funds, gone = await told(shop, order["id"])
    assert [one.type for one in (created, funds, gone)] == ["order.created", "order.funds_reserved", "order.canceled"]
    assert {one.aggregate for one in (created, funds, gone)} == {"Order"}
    assert created.payload == {
        "orderId": order["id"],
        "buyerId": buyer.id,
        "sellerId": seller.id,
        "amount": "10.00",
        "currency": "USD",
        "title": "A logo",
        "description": "In two colours",
        "clientOrderRef": sent["client_order_ref"],
    }
    check(
        funds.payload,
        {
            "orderId": (order["id"],),
            "buyerId": (buyer.id,),
            "amount": ("10.00",),
            "currency": ("USD",),
            "reservedBalance": AMOUNT,
            "availableBalance": AMOUNT,
        },
    )
    check(
        gone.payload,
        {
            "orderId": (order["id"],),
            "buyerId": (buyer.id,),
            "canceledBy": TEXT,
            "reason": ("No",),
            "canceledAt": TIME,
            "fundsReleased": (True,),
        },
    )
    released = [event for event in await told(shop, buyer.id) if event.type == "balance.released"][-1]
    assert (released.payload["orderId"], released.payload["reason"]) == (order["id"], "cancel")
    trail = await shop.audit(order["id"])
    assert [name for name in trail if name.isupper()] == ["ORDER_CREATED", "FUNDS_RESERVED", "ORDER_CANCELLED"]


@pytest.mark.claims(
    "POST /orders/{order_id}/escrow",
    "POST /orders/{order_id}/escrow/fund",
    "POST /orders/{order_id}/milestones/{ref}/complete",
    "POST /orders/{order_id}/resolution/release",
)
async def test_an_order_until_the_seller_is_paid(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    buyer, seller = pair
    order_id = await shop.order(*pair, "10.00", "FUNDS_RESERVED", milestones=[{"ref": "m1", "title": "One"}])
    one, before = f"/orders/{order_id}", await shop.units(seller.id)
    deployed = opened(await shop.post(f"{one}/escrow"), "SUCC", ORDER)
    assert (deployed["status"], deployed["escrow"]["status"]) == ("ESCROW_FUNDING", "CREATED")
    funded = opened(await shop.post(f"{one}/escrow/fund"), "SUCC", ORDER)
    assert (funded["status"], funded["escrow"]["status"]) == ("IN_PROGRESS", "FUNDED")
    assert funded["escrow"]["contractId"] == funded["escrow"]["trustlessContractId"]
    details = await shop.refused("POST", f"{one}/resolution/release", status=409, code="INVALID_STATE")
    assert "m1" in str(details), "which milestones are open is told"
    milestone = opened(await shop.post(f"{one}/milestones/m1/complete"), "SUCC", MILESTONE)
    assert milestone["status"] == "COMPLETED"
    closed = opened(await shop.post(f"{one}/resolution/release", {"requestedBy": "x"}), "SUCC", ORDER)
    assert (closed["status"], closed["finalStatus"], closed["escrow"]["status"]) == ("CLOSED", "RELEASED", "RELEASED")
    assert closed["escrow"]["releasedAt"] is not None
    assert (await shop.units(seller.id))["available"] - before.get("available", 0) == 99_700_000
    assert await shop.units(order_id) == {}
    assert await shop.postings(order_id) == ["hold", "fund_escrow", "released"]

    forms = {
        "order.escrow_creating": ESCROW_FACTS,
        "order.escrow_funding": CONTRACT_FACTS,
        "order.escrow_funded": {**CONTRACT_FACTS, "fundedAt": TIME},
        "order.in_progress": {"orderId": an_id("ord"), "escrowId": an_id("esc")},
        "escrow.milestone_completed": {
            "escrowId": an_id("esc"),
            "orderId": an_id("ord"),
            "milestoneRef": ("m1",),
            "milestoneTitle": ("One",),
            "amount": ("10.00",),
            "completedAt": TIME,
        },
        "order.release_requested": REQUESTED,
        "order.released": {**ENDED, "sellerId": (seller.id,), "releasedAt": TIME, "newSellerBalance": AMOUNT},
        "order.closed": {**CLOSED, "finalStatus": ("RELEASED",)},
    }
    course = (await told(shop, order_id))[2:]
    assert [event.type for event in course] == list(forms)
    for event in course:
        check(event.payload, forms[event.type], event.type)
    ended = {**CONTRACT_FACTS, "sellerId": (seller.id,), "releasedAt": TIME, "transactionHash": TEXT}
    ended.pop("trustlessContractId")
    escrow = {
        "escrow.created": {**CONTRACT_FACTS, "currency": ("USD",)},
        "escrow.funding_started": CONTRACT_FACTS,
        "escrow.funded": {**CONTRACT_FACTS, "fundedAt": TIME},
        "escrow.released": ended,
    }
    for event in await told(shop, closed["escrow"]["id"], *escrow):
        assert event.aggregate in ("Order", "Escrow")
        check(event.payload, escrow[event.type], event.type)
    credit = [event for event in await told(shop, seller.id) if event.type == "balance.credited"][-1]
    check(credit.payload, {**CREDIT, "source": ("release",), "sourceId": (order_id,), "amount": ("9.97",)})
    released = [event for event in await told(shop, buyer.id) if event.type == "balance.released"][-1]
    assert (released.payload["orderId"], released.payload["reason"]) == (order_id, "escrow_funded")
    trail = [name for name in await shop.audit(order_id) if name.isupper()]
    assert trail == [
        *("ORDER_CREATED", "FUNDS_RESERVED", "ESCROW_CREATING", "ESCROW_CREATED", "ESCROW_FUNDED"),
        *("MILESTONE_COMPLETED", "RELEASE_REQUESTED", "RELEASED"),
    ]
    await shop.assert_backed(buyer, seller)


PAID = {
    "escrowId": an_id("esc"),
    "orderId": an_id("ord"),
    "milestoneRef": TEXT,
    "milestoneTitle": TEXT,
    "amount": AMOUNT,
    "netAmount": AMOUNT,
    "fees": AMOUNT,
    "currency": CURRENCY,
    "transactionHash": HASH,
    "paidAt": TIME,
}


@pytest.mark.claims(
    "POST /orders/{order_id}/milestones/{ref}/release",
    "POST /orders/{order_id}/milestones/{ref}/refund",
)
async def test_an_order_whose_milestones_pay_by_themselves(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    buyer, seller = pair
    parts = [{"ref": "m1", "title": "One", "amount": "4.00"}, {"ref": "m2", "title": "Two", "amount": "6.00"}]
    order_id = await shop.order(*pair, "10.00", "IN_PROGRESS", milestones=parts, escrowType="multi-release")
    one = f"/orders/{order_id}"
    done = opened(await shop.post(f"{one}/milestones/m1/complete"), "SUCC", MILESTONE)
    assert (done["status"], done["payout"]["status"]) == ("COMPLETED", "UNPAID")
    sent = {"reason": "Good", "requestedBy": "x"}
    first = await shop.post(f"{one}/milestones/m1/release", sent, key="multi-release-1")
    released = opened(first, "SUCC", ORDER)
    assert (released["status"], released["escrow"]["status"]) == ("IN_PROGRESS", "FUNDED")
    assert [part["payout"]["status"] for part in released["milestones"]] == ["RELEASED", "UNPAID"]
    again = await shop.post(f"{one}/milestones/m1/release", sent, key="multi-release-1")
    assert (again.body, again.headers["idempotency-replay"]) == (first.body, "true")
    path = f"{one}/milestones/m2/refund"
    for missing in ({}, {"reason": ""}, {"requestedBy": "x"}):
        await shop.refused("POST", path, missing, status=400, code="VALIDATION_ERROR")
    closed = opened(await shop.post(path, {"reason": "Late"}), "SUCC", ORDER)
    assert (closed["status"], closed["finalStatus"], closed["escrow"]["status"]) == ("CLOSED", "RELEASED", "RELEASED")
    assert opened(await shop.get(f"{one}/milestones"), "SUCC", [MILESTONE]) == closed["milestones"]
    asked, paid, back_asked, back, ended, end = await told(
        shop,
        order_id,
        "escrow.milestone_release_requested",
        "escrow.milestone_released",
        "escrow.milestone_refund_requested",
        "escrow.milestone_refunded",
        "order.released",
        "order.closed",
    )
    request = {**REQUESTED, "escrowId": an_id("esc"), "milestoneRef": TEXT, "milestoneTitle": TEXT}
    check(asked.payload, {**request, "milestoneRef": ("m1",), "reason": ("Good",)})
    check(back_asked.payload, {**request, "milestoneRef": ("m2",), "reason": ("Late",)})
    check(paid.payload, {**PAID, "amount": ("4.00",), "sellerId": (seller.id,), "newSellerBalance": AMOUNT})
    check(back.payload, {**PAID, "amount": ("6.00",), "buyerId": (buyer.id,), "newBuyerBalance": AMOUNT})
    check(ended.payload, {**ENDED, "sellerId": (seller.id,), "releasedAt": TIME, "newSellerBalance": AMOUNT})
    check(end.payload, {**CLOSED, "finalStatus": ("RELEASED",)})
    assert {one.aggregate for one in (asked, paid, back_asked, back)} == {"Order"}
    assert [action for action in await shop.audit(order_id) if action.isupper()][-5:] == [
        *("MILESTONE_RELEASE_REQUESTED", "MILESTONE_RELEASED", "MILESTONE_REFUND_REQUESTED", "MILESTONE_REFUNDED"),
        "RELEASED",
    ]


@pytest.mark.claims("POST /orders/{order_id}/resolution/refund")
async def test_an_order_until_the_buyer_is_paid_back(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    buyer, _ = pair
    order_id = await shop.order(*pair, "10.00", "IN_PROGRESS")
    path = f"/orders/{order_id}/resolution/refund"
    for missing in ({}, {"reason": ""}, {"requestedBy": "x"}):
        await shop.refused("POST", path, missing, status=400, code="VALIDATION_ERROR")
    closed = opened(await shop.post(path, {"reason": "Late", "requestedBy": "x"}), "SUCC", ORDER)
    assert (closed["status"], closed["finalStatus"], closed["escrow"]["status"]) == ("CLOSED", "REFUNDED", "REFUNDED")
    requested, refunded, end = await told(shop, order_id, "order.refund_requested", "order.refunded", "order.closed")
    check(requested.payload, {**REQUESTED, "reason": ("Late",)})
    check(refunded.payload, {**ENDED, "buyerId": (buyer.id,), "refundedAt": TIME, "newBuyerBalance": AMOUNT})
    check(end.payload, {**CLOSED, "finalStatus": ("REFUNDED",)})
    [gone] = await told(shop, closed["escrow"]["id"], "escrow.refunded")
    assert (gone.payload["buyerId"], gone.payload["amount"]) == (buyer.id, "10.00")
    check(gone.payload["refundedAt"], TIME)
    credit = [event for event in await told(shop, buyer.id) if event.type == "balance.credited"][-1]
    assert (credit.payload["source"], credit.payload["sourceId"]) == ("refund", order_id)
    assert {"REFUND_REQUESTED", "REFUNDED"} <= set(await shop.audit(order_id))


# -- disputes (2.8, 2.9) ----------------------------------------------------------------------------------


@pytest.mark.claims(
    "POST /orders/{order_id}/resolution/dispute",
    "GET /disputes",
    "GET /disputes/{dispute_id}",
    "POST /disputes/{dispute_id}/assign",
    "POST /disputes/{dispute_id}/resolve",
)
async def test_a_dispute(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    buyer, seller = pair
    order_id = await shop.order(*pair, "10.00", "IN_PROGRESS")
    path = f"/orders/{order_id}/resolution/dispute"
    body = {"openedBy": "SELLER", "reason": "OTHER", "evidence": ["a", "b"], "orderId": order_id}
    wrong: list[dict[str, Any]] = [
        *({}, {**body, "orderId": "ord_" + "0" * 32}, {**body, "openedBy": "buyer"}, {**body, "reason": "BAD"}),
        {**body, "evidence": "a"},
    ]
    for bad in wrong:
        await shop.refused("POST", path, bad, status=400, code="VALIDATION_ERROR")
    full = {**DISPUTE, "order": ORDER}
    dispute = opened(await shop.post(path, body), "SUCC", full, 201)
    assert (dispute["status"], dispute["order"]["status"]) == ("OPEN", "DISPUTED")
    assert (dispute["order"]["escrow"]["status"], dispute["evidence"]) == ("DISPUTED", ["a", "b"])
    one = f"/disputes/{dispute['id']}"
    assert opened(await shop.get(one), "SUCC", full) == dispute
    filters = f"orderId={order_id}&status=OPEN&openedBy=SELLER"
    [listed] = opened(await shop.get(f"/disputes?{filters}"), "SUCC", [{**DISPUTE, "order": Omittable(ORDER)}])
    assert listed["id"] == dispute["id"]
    for query in ("status=open", "openedBy=x", "limit=1", "colour=red"):
        await shop.refused("GET", f"/disputes?{query}", status=400, code="VALIDATION_ERROR")
    resolution = {"decision": "SPLIT", "releaseAmount": "4.00", "refundAmount": "6.00", "note": "Half done"}
    details = await shop.refused("POST", f"{one}/resolve", resolution, status=409, code="INVALID_STATE")
    assert (details["currentState"], details["allowedStates"]) == ("OPEN", ["UNDER_REVIEW"])
    assigned = opened(await shop.post(f"{one}/assign", {"agentId": "agent-7", "notes": "mine"}), "SUCC", full)
    assert (assigned["status"], assigned["assignedTo"]) == ("UNDER_REVIEW", "agent-7")
    for parts in ({"releaseAmount": "4.00"}, {"releaseAmount": "4.00", "refundAmount": "6.01"}, {}):
        split = {"decision": "SPLIT", **parts}
        await shop.refused("POST", f"{one}/resolve", split, status=422, code="INVALID_AMOUNT")
    resolved = opened(await shop.post(f"{one}/resolve", resolution), "SUCC", full)
    assert (resolved["status"], resolved["resolutionDecision"]) == ("RESOLVED", "SPLIT")
    assert (resolved["decisionNote"], resolved["order"]["status"]) == ("Half done", "CLOSED")
    assert (resolved["releaseAmount"], resolved["refundAmount"]) == ("4.00", "6.00")
    assert resolved["order"]["escrow"]["status"] == "RELEASED"

    start, review, end = await told(shop, dispute["id"])
    facts = {"disputeId": (dispute["id"],), "orderId": (order_id,)}
    opening = {**facts, "openedBy": ("SELLER",), "reason": ("OTHER",), "evidence": [TEXT], "openedAt": TIME}
    check(start.payload, opening)
    check(review.payload, {**facts, "reviewedBy": ("agent-7",), "reviewStartedAt": TIME, "notes": ("mine",)})
    check(
        end.payload,
        {
            **facts,
            "decision": ("SPLIT",),
            "decisionNote": ("Half done",),
            "resolvedBy": TEXT,
            "resolvedAt": TIME,
            "buyerAmount": ("6.00",),
            "sellerAmount": ("4.00",),
        },
    )
    assert [one.type for one in (start, review, end)] == [
        *("dispute.opened", "dispute.under_review", "dispute.resolved"),
    ]
    disputed, released, closed = await told(shop, order_id, "order.disputed", "order.released", "order.closed")
    check(disputed.payload, opening)
    check(closed.payload, CLOSED)
    assert released.payload["sellerId"] == seller.id
    for person, source in ((seller, "release"), (buyer, "refund")):
        credit = [event for event in await told(shop, person.id) if event.type == "balance.credited"][-1]
        check(credit.payload, {**CREDIT, "source": (source,), "sourceId": (order_id,)})
    trail = [name for name in await shop.audit(dispute["id"]) if name.isupper()]
    assert trail[0:2] == ["DISPUTE_OPENED", "DISPUTE_ASSIGNED"]
    assert trail[-1] == "DISPUTE_RESOLVED"
    await shop.refused("POST", f"{one}/resolve", resolution, status=409, code="INVALID_STATE")
    details = await shop.refused("POST", path, body, status=409, code="DISPUTE_ALREADY_OPEN")
    assert details["disputeId"] == dispute["id"]


@pytest.mark.parametrize(
    ("decision", "parts", "end", "escrow"),
    [
        ("FULL_RELEASE", {}, "RELEASED", "RELEASED"),
        ("FULL_REFUND", {}, "REFUNDED", "REFUNDED"),
        ("SPLIT", {"releaseAmount": "0.00", "refundAmount": "10.00"}, "RELEASED", "RELEASED"),
        ("SPLIT", {"release_amount": "10.00", "refund_amount": "0.00"}, "RELEASED", "RELEASED"),
    ],
)
async def test_a_decision(
    shop: Marketplace, pair: tuple[Person, Person], decision: str, parts: dict[str, str], end: str, escrow: str
) -> None:
    order_id, dispute_id = await shop.disputed(*pair, "10.00")
    body = {"decision": decision, **parts}
    resolved = await shop.done("POST", f"/disputes/{dispute_id}/resolve", body)
    order = resolved["order"]
    assert (order["status"], order["finalStatus"], order["escrow"]["status"]) == ("CLOSED", end, escrow)
    assert (await shop.events(dispute_id)).count("dispute.resolved") == 1
    assert (await shop.events(order_id)).count("order.closed") == 1
    assert await shop.units(order_id) == {}
    await shop.assert_backed(*pair)


# -- lists (1.7) ------------------------------------------------------------------------------------------


async def test_lists_by_the_time_of_creation(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    here = await Marketplace.found(shop.live, shop.world, shop.http)
    users = [
        Person((await here.done("POST", "/users", {"externalUserId": unique("p")}, status=201))["id"], "")
        for _ in range(2)
    ]
    made = [await here.done("POST", "/orders", terms((users[0], users[1])), status=201) for _ in range(4)]
    # Only the hour is at the test's command; the times are those of the wire.
    for number, order in enumerate(made):
        sql = """
            UPDATE orders SET created_at = '2026-03-01 10:00:00.123456Z'::timestamptz + make_interval(hours => $2)
            WHERE id = $1
        """
        await here.live.product.database.run(
            lambda tx, order=order, number=number, sql=sql: tx.execute(sql, order["id"], number)
        )
    ids = [order["id"] for order in made]
    times = [(await here.done("GET", f"/orders/{one}"))["createdAt"] for one in ids]
    assert times[1] == "2026-03-01T11:00:00.123Z"

    async def found(**filters: str) -> list[str]:
        query = "&".join(f"{name}={quote(value)}" for name, value in filters.items())
        return [order["id"] for order in opened(await here.get(f"/orders?{query}"), "LIST", ORDER)]

    assert await found(created_after=times[1]) == [ids[3], ids[2]]
    assert await found(created_before=times[1]) == [ids[0]]
    assert await found(created_after=times[0], created_before=times[3]) == [ids[2], ids[1]]
    elsewhere = datetime.fromisoformat(times[1]).astimezone(timezone(timedelta(hours=-7))).isoformat()
    assert await found(created_after=elsewhere, status="ORDER_CREATED", seller_id=users[1].id) == [ids[3], ids[2]]
    assert await found(created_after="2026-03-01T11:00:00.122999Z") == [ids[3], ids[2], ids[1]]
    assert await found(created_before="9999-12-31T23:59:59.999999Z", limit="2") == [ids[3], ids[2]]
    page = await here.get(f"/orders?limit=1&created_before={times[3]}&cursor={ids[2]}")
    assert [order["id"] for order in page.data] == [ids[1]]
    bad = ("yesterday", "2026-03-01", "2026-03-01T10:00:00", "1772359200", "2026-13-01T00:00:00Z", "now()")
    more = ("0001-01-01T00:00:00+23:59", "2026-03-01T10:00:00Z\n")
    for name in ("created_after", "created_before"):
        for value in (*bad, *more):
            path = f"/orders?{name}={quote(value)}"
            details = await here.refused("GET", path, status=400, code="VALIDATION_ERROR")
            assert details["fields"][0]["field"] == name

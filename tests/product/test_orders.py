"""Orders before their escrow: creation, milestones, reservation, cancelling, lists (contract 2.7)."""

from typing import Any

import pytest

from support.product import Marketplace, Person, unique

UNIT = 10_000_000
ORDER_FIELDS = {
    *("id", "clientOrderRef", "buyerId", "sellerId", "amount", "currency", "status", "title", "description"),
    *(
        "metadata",
        "finalStatus",
        "closedAt",
        "createdAt",
        "updatedAt",
        "escrow",
        "milestones",
        "dispute",
        "escrowType",
    ),
}


async def user(shop: Marketplace, credit: str | None = None) -> Person:
    """A user whose wallet nobody waits for."""
    made = await shop.done("POST", "/users", {"externalUserId": unique("user")}, status=201)
    person = Person(made["id"], made["wallet"]["publicKey"])
    if credit:
        await shop.credit(person, credit)
    return person


@pytest.fixture(scope="module")
async def two(shop: Marketplace) -> tuple[Person, Person]:
    """A buyer with a manual credit, and a seller."""
    return await user(shop, "1000.00"), await user(shop)


def body_of(two: tuple[Person, Person], **more: Any) -> dict[str, Any]:
    """The least that an order needs."""
    return {"buyer_id": two[0].id, "seller_id": two[1].id, "amount": "80.00", "title": "A logo", **more}


async def test_an_order_is_created(shop: Marketplace, two: tuple[Person, Person]) -> None:
    body = body_of(two, description="In two colours", metadata={"site": "x", "n": [1, None]}, currency="USDC")
    heard = await shop.post("/orders", body)
    assert heard.status == 201
    assert set(heard.json) == {"success", "data", "meta"}
    assert heard.json["success"] is True
    order = heard.data
    assert set(order) == ORDER_FIELDS
    assert order["id"].startswith("ord_")
    assert (order["buyerId"], order["sellerId"]) == (two[0].id, two[1].id)
    assert (order["amount"], order["currency"], order["status"]) == ("80.00", "USDC", "ORDER_CREATED")
    assert (order["description"], order["metadata"]) == ("In two colours", {"site": "x", "n": [1, None]})
    assert order["escrow"] is order["dispute"] is order["clientOrderRef"] is order["closedAt"] is None
    assert order["milestones"] == []
    assert (await shop.get(f"/orders/{order['id']}")).data == order
    assert await shop.events(order["id"]) == ["order.created"]
    assert "ORDER_CREATED" in await shop.audit(order["id"])


async def test_the_parties_have_two_spellings(shop: Marketplace, two: tuple[Person, Person]) -> None:
    body = {"buyerId": two[0].id, "sellerId": two[1].id, "amount": "1.00", "title": "t"}
    assert (await shop.done("POST", "/orders", body, status=201))["buyerId"] == two[0].id


async def test_the_client_s_reference_is_one_order(shop: Marketplace, two: tuple[Person, Person]) -> None:
    body = body_of(two, client_order_ref=unique("ref"), milestones=[{"ref": "a", "title": "A"}])
    first = await shop.done("POST", "/orders", body, status=201)
    assert first["clientOrderRef"] == body["client_order_ref"]
    assert await shop.done("POST", "/orders", body, status=200) == first
    before = await shop.counts()
    others: list[dict[str, Any]] = [
        {"amount": "80.01"},
        {"title": "Another"},
        {"seller_id": two[0].id, "buyer_id": two[1].id},
    ]
    others += [{"milestones": []}, {"milestones": [{"ref": "b", "title": "A"}]}]
    for other in others:
        details = await shop.refused("POST", "/orders", {**body, **other}, status=409, code="ORDER_REF_REUSED")
        assert details["orderId"] == first["id"]
    assert await shop.counts() == before
    elsewhere = await Marketplace.found(shop.live, shop.world, shop.http)
    there = body_of((await user(elsewhere), await user(elsewhere)), client_order_ref=body["client_order_ref"])
    assert (await elsewhere.done("POST", "/orders", there, status=201))["id"] != first["id"]


async def test_milestones_keep_their_order_and_one_takes_the_remainder(
    shop: Marketplace, two: tuple[Person, Person]
) -> None:
    sent = [
        {"milestone_ref": "sketch", "title": "A sketch", "amount": "20.01"},
        {"ref": "middle", "description": "The middle"},
        {"ref": "end", "title": "The end", "amount": "30.00"},
    ]
    order = await shop.done("POST", "/orders", body_of(two, milestones=sent), status=201)
    assert [(one["ref"], one["title"], one["amount"], one["status"]) for one in order["milestones"]] == [
        ("sketch", "A sketch", "20.01", "OPEN"),
        ("middle", "The middle", "29.99", "OPEN"),
        ("end", "The end", "30.00", "OPEN"),
    ]
    first = order["milestones"][0]
    assert first["milestoneRef"] == first["ref"]
    assert first["description"] == first["title"]
    assert first["completedAt"] is None
    assert await shop.done("GET", f"/orders/{order['id']}/milestones") == order["milestones"]


MILESTONES: list[tuple[list[dict[str, str]], str]] = [
    ([{"ref": "a", "title": "A", "amount": "79.99"}], "INVALID_AMOUNT"),
    ([{"ref": "a", "title": "A", "amount": "80.01"}], "INVALID_AMOUNT"),
    ([{"ref": "a", "title": "A", "amount": "80.00"}, {"ref": "b", "title": "B"}], "INVALID_AMOUNT"),
    ([{"ref": "a", "title": "A", "amount": "90.00"}, {"ref": "b", "title": "B"}], "INVALID_AMOUNT"),
    ([{"ref": "a", "title": "A"}, {"ref": "b", "title": "B"}], "INVALID_AMOUNT"),
    ([{"ref": "a", "title": "A", "amount": "40.00"}] * 2, "VALIDATION_ERROR"),
    ([{"ref": "", "title": "A"}], "VALIDATION_ERROR"),
    ([{"title": "A"}], "VALIDATION_ERROR"),
    ([{"ref": "a"}], "VALIDATION_ERROR"),
    ([{"ref": "a", "title": "A", "status": "COMPLETED"}], "VALIDATION_ERROR"),
    ([{"ref": str(n), "title": "A"} for n in range(51)], "VALIDATION_ERROR"),
]


@pytest.mark.parametrize(("milestones", "code"), MILESTONES)
async def test_bad_milestones(
    shop: Marketplace, two: tuple[Person, Person], milestones: list[dict[str, str]], code: str
) -> None:
    before = await shop.counts()
    await shop.refused("POST", "/orders", body_of(two, milestones=milestones), status=400, code=code)
    assert await shop.counts() == before


BAD_ORDERS: list[tuple[dict[str, Any], int, str]] = [
    ({"seller_id": "same"}, 400, "INVALID_REQUEST"),
    ({"buyer_id": "usr_" + "0" * 32}, 404, "USER_NOT_FOUND"),
    ({"seller_id": "usr_" + "0" * 32}, 404, "USER_NOT_FOUND"),
    ({"seller_id": "nobody"}, 404, "USER_NOT_FOUND"),
    ({"buyer_id": ""}, 400, "VALIDATION_ERROR"),
    ({"seller_id": None}, 400, "VALIDATION_ERROR"),
    ({"title": ""}, 400, "VALIDATION_ERROR"),
    ({"title": "x" * 201}, 400, "VALIDATION_ERROR"),
    ({"title": None}, 400, "VALIDATION_ERROR"),
    ({"description": "x" * 5001}, 400, "VALIDATION_ERROR"),
    ({"client_order_ref": ""}, 400, "VALIDATION_ERROR"),
    ({"client_order_ref": "x" * 256}, 400, "VALIDATION_ERROR"),
    ({"currency": "EUR"}, 400, "INVALID_CURRENCY"),
    ({"metadata": "text"}, 400, "VALIDATION_ERROR"),
    ({"status": "CLOSED"}, 400, "VALIDATION_ERROR"),
]


@pytest.mark.parametrize(("change", "status", "code"), BAD_ORDERS)
async def test_bad_orders(
    shop: Marketplace, two: tuple[Person, Person], change: dict[str, Any], status: int, code: str
) -> None:
    if change.get("seller_id") == "same":
        change = {"seller_id": two[0].id}
    before = await shop.counts()
    await shop.refused("POST", "/orders", body_of(two, **change), status=status, code=code)
    assert await shop.counts() == before


async def test_the_parties_belong_to_the_marketplace(shop: Marketplace, two: tuple[Person, Person]) -> None:
    elsewhere = await Marketplace.found(shop.live, shop.world, shop.http)
    foreigner = await user(elsewhere)
    for side in ("buyer_id", "seller_id"):
        await shop.refused("POST", "/orders", body_of(two, **{side: foreigner.id}), status=404, code="USER_NOT_FOUND")


async def test_a_reservation_sets_the_order_s_amount_aside_once(shop: Marketplace) -> None:
    buyer, seller = await user(shop, "100.00"), await user(shop)
    order_id = await shop.order(buyer, seller, "60.00")
    other = await shop.order(buyer, seller, "60.00")
    reserved = await shop.done("POST", f"/orders/{order_id}/reserve", {"amount": "60.00"})
    assert reserved["status"] == "FUNDS_RESERVED"
    assert await shop.units(buyer.id) == {"available": 40 * UNIT, "reserved": 60 * UNIT}
    assert (await shop.events(order_id))[-1] == "order.funds_reserved"
    await shop.refused("POST", f"/orders/{order_id}/reserve", status=409, code="FUNDS_ALREADY_RESERVED")
    details = await shop.refused("POST", f"/orders/{other}/reserve", status=422, code="INSUFFICIENT_FUNDS")
    assert (details["requested"], details["available"]) == ("60.00", "40.00")
    details = await shop.refused(
        "POST", f"/orders/{other}/reserve", {"amount": "40.00"}, status=422, code="RESERVE_MISMATCH_AMOUNT"
    )
    assert await shop.units(buyer.id) == {"available": 40 * UNIT, "reserved": 60 * UNIT}
    assert (await shop.done("GET", f"/orders/{other}"))["status"] == "ORDER_CREATED"


async def test_cancelling_gives_the_reservation_back_once(shop: Marketplace) -> None:
    buyer, seller = await user(shop, "100.00"), await user(shop)
    order_id = await shop.order(buyer, seller, "60.00", "FUNDS_RESERVED")
    closed = await shop.done("POST", f"/orders/{order_id}/cancel", {"reason": "changed my mind", "canceledBy": "x"})
    assert (closed["status"], closed["finalStatus"]) == ("CLOSED", "CANCELED")
    assert closed["closedAt"] is not None
    assert await shop.units(buyer.id) == {"available": 100 * UNIT}
    assert (await shop.events(order_id))[-1] == "order.canceled"
    for move in ("cancel", "reserve", "escrow", "escrow/fund", "resolution/release"):
        details = await shop.refused("POST", f"/orders/{order_id}/{move}", status=409, code="INVALID_STATE")
        assert details["currentState"] == "CLOSED"
        assert details["orderId"] == order_id
    assert await shop.units(buyer.id) == {"available": 100 * UNIT}


async def test_an_order_without_reservation_is_cancelled_too(shop: Marketplace, two: tuple[Person, Person]) -> None:
    order_id = await shop.order(*two, "60.00")
    assert (await shop.done("POST", f"/orders/{order_id}/cancel"))["finalStatus"] == "CANCELED"
    assert await shop.postings(order_id) == []


EARLY = ["escrow", "escrow/fund", "resolution/release", "resolution/refund", "resolution/dispute"]


@pytest.mark.parametrize("move", EARLY)
async def test_nothing_happens_before_its_time(shop: Marketplace, two: tuple[Person, Person], move: str) -> None:
    order_id = await shop.order(*two, "60.00", milestones=[{"ref": "a", "title": "A"}])
    body = {"resolution/refund": {"reason": "r"}, "resolution/dispute": {"openedBy": "BUYER", "reason": "OTHER"}}
    before = await shop.counts()
    await shop.refused("POST", f"/orders/{order_id}/{move}", body.get(move), status=409, code="INVALID_STATE")
    await shop.refused("POST", f"/orders/{order_id}/milestones/a/complete", status=409, code="INVALID_STATE")
    assert await shop.counts() == before


async def test_lists_filter_and_page(shop: Marketplace) -> None:
    here = await Marketplace.found(shop.live, shop.world, shop.http)
    ann, ben, cat = await user(here, "100.00"), await user(here), await user(here)
    first = await here.order(ann, ben, "1.00")
    second = await here.order(ann, cat, "2.00", "FUNDS_RESERVED")
    third = await here.order(cat, ann, "3.00")
    fourth = await here.order(ben, cat, "4.00")

    async def ids(query: str) -> list[str]:
        heard = await here.get(f"/orders{query}")
        assert heard.status == 200, heard.body
        assert set(heard.json) >= {"success", "data", "hasMore", "pagination", "meta"}
        return [order["id"] for order in heard.data]

    assert await ids("") == [fourth, third, second, first]
    assert await ids(f"?buyer_id={ann.id}") == [second, first]
    assert await ids(f"?seller_id={cat.id}") == [fourth, second]
    assert await ids(f"?buyer_id={ann.id}&seller_id={ann.id}") == [third, second, first], "either side"
    assert await ids("?status=FUNDS_RESERVED") == [second]
    for spelling in ("COMPLETED", "CANCELLED", "ESCROW_CREATED"):
        assert await ids(f"?status={spelling}") == [], "the SDK's own spellings match nothing"
    page = (await here.get("/orders?limit=3")).json
    assert (page["hasMore"], page["nextCursor"]) == (True, second)
    assert page["pagination"] == {"hasMore": True, "nextCursor": second, "has_more": True, "next_cursor": second}
    rest = (await here.get(f"/orders?limit=3&cursor={second}")).json
    assert [order["id"] for order in rest["data"]] == [first]
    assert rest["hasMore"] is False
    assert "nextCursor" not in rest
    for query in ("?status=DONE", "?limit=0", "?cursor=ord_1", "?limit=ten", "?buyer=x"):
        await here.refused("GET", f"/orders{query}", status=400, code="VALIDATION_ERROR")
    assert len(await ids("?limit=1000")) == 4


async def test_a_suspended_user_moves_no_money(shop: Marketplace) -> None:
    buyer, seller = await user(shop, "100.00"), await user(shop)
    order_id = await shop.order(buyer, seller, "60.00")
    suspend = "UPDATE users SET status = 'SUSPENDED' WHERE id = $1"
    await shop.live.product.database.run(lambda tx: tx.execute(suspend, buyer.id))
    before = await shop.counts()
    await shop.refused("POST", f"/orders/{order_id}/reserve", status=422, code="USER_NOT_ACTIVE")
    path = f"/users/{buyer.id}/balance"
    for operation, more in (("credit", {}), ("debit", {}), ("reserve", {"orderId": "x"})):
        body = {"amount": "1.00", **more}
        await shop.refused("POST", f"{path}/{operation}", body, status=422, code="USER_NOT_ACTIVE")
    await shop.refused("POST", "/orders", body_of((buyer, seller)), status=422, code="USER_NOT_ACTIVE")
    payout = {"userId": buyer.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": seller.address}
    await shop.refused("POST", "/withdrawals", payout, status=422, code="USER_NOT_ACTIVE")
    on_balance = {"audit_entries": before["audit_entries"] + 3}
    assert await shop.counts() == before | on_balance, "only the operations on the balance are recorded"

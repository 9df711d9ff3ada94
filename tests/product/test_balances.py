"""Balances over the wire (contract 2.4): every operation, in both spellings, and what the books hold afterwards."""

import pytest

from support.product import Marketplace, Person, unique

UNIT = 10_000_000
BALANCE_FIELDS = {"user_id", "userId", "available", "reserved", "total", "currency", "updated_at", "updatedAt"}
OPERATION_FIELDS = BALANCE_FIELDS | {
    *("success", "operation", "amount", "previousBalance", "newBalance", "auditLogId", "balance"),
}


@pytest.fixture
async def alice(shop: Marketplace) -> Person:
    """A user with a manual credit of 100.00 whose wallet nobody waits for."""
    made = await shop.done("POST", "/users", {"externalUserId": unique("alice")}, status=201)
    person = Person(made["id"], made["wallet"]["publicKey"])
    await shop.credit(person, "100.00")
    return person


async def operate(shop: Marketplace, person: Person, operation: str, **body: str) -> dict[str, object]:
    """One operation that succeeds, checked for the shape that all of them share."""
    heard = await shop.post(f"/users/{person.id}/balance/{operation}", body)
    assert heard.status == 200, heard.body
    flat = heard.json
    inner = flat["data"]
    assert set(inner) == OPERATION_FIELDS
    assert {name: flat[name] for name in inner} == inner, "the fields are at the top as well"
    assert inner["user_id"] == inner["userId"]
    assert inner["balance"]["available"] == inner["available"] == inner["newBalance"]["available"]
    assert inner["balance"]["reserved"] == inner["reserved"] == inner["newBalance"]["reserved"]
    assert inner["auditLogId"].startswith("aud_")
    assert inner["amount"] == body["amount"]
    found: dict[str, object] = inner
    return found


async def only_audited(shop: Marketplace, before: dict[str, int], refused: int) -> None:
    """Every operation refused since has left an audit entry, and nothing else."""
    after = await shop.counts()
    assert after == before | {"audit_entries": before["audit_entries"] + refused}


async def test_credit_and_debit(shop: Marketplace, alice: Person) -> None:
    credited = await operate(shop, alice, "credit", amount="0.01", description="a gift", reference="gift-1")
    assert credited["operation"] == "CREDIT_AVAILABLE"
    assert credited["previousBalance"] == {"available": "100.00", "reserved": "0.00"}
    assert credited["newBalance"] == {"available": "100.01", "reserved": "0.00"}
    debited = await operate(shop, alice, "debit", amount="100.01", currency="USDC")
    assert debited["operation"] == "DEBIT_AVAILABLE"
    assert debited["total"] == "0.00"
    assert await shop.units(alice.id) == {}
    assert await shop.postings(alice.id) == ["manual_credit", "manual_credit", "manual_debit"]
    for done, action in ((credited, "CREDIT_AVAILABLE"), (debited, "DEBIT_AVAILABLE")):
        sql = "SELECT action, resource_id FROM audit_entries WHERE id = $1"
        [entry] = await shop.live.rows(sql, done["auditLogId"])
        assert (entry["action"], entry["resource_id"]) == (action, alice.id)
    assert (await shop.events(alice.id))[-2:] == ["balance.credited", "balance.debited"]


async def test_nobody_spends_more_than_is_there(shop: Marketplace, alice: Person) -> None:
    path = f"/users/{alice.id}/balance"
    before = await shop.counts()
    for operation, more in (("debit", {}), ("reserve", {"orderId": "o-1"})):
        body = {"amount": "100.01", **more}
        details = await shop.refused("POST", f"{path}/{operation}", body, status=422, code="INSUFFICIENT_FUNDS")
        assert (details["requested"], details["available"], details["currency"]) == ("100.01", "100.00", "USD")
    await only_audited(shop, before, 2)
    assert await shop.balance(alice) == ("100.00", "0.00")


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_refused_operation_leaves_one_audit_entry_that_says_why(
    shop: Marketplace, alice: Person, keyed: bool
) -> None:
    path, body = f"/users/{alice.id}/balance/debit", {"amount": "100.01", "reference": "fine-7"}
    key = unique("debit") if keyed else None
    heard = await shop.post(path, body, key=key)
    assert (heard.status, heard.json["error"]["code"]) == (422, "INSUFFICIENT_FUNDS")
    if keyed:
        assert (await shop.post(path, body, key=key)).body == heard.body, "a replay, which is not recorded again"
    [entry] = await shop.done("GET", f"/audit/logs?resourceId={alice.id}&action=DEBIT_AVAILABLE")
    assert (entry["result"], entry["resourceType"], entry["userId"]) == ("FAILURE", "Balance", alice.id)
    assert entry["actorType"] == "API_KEY"
    assert entry["payloadBefore"] is None
    assert entry["payloadAfter"] == {"amount": "100.01", "reference": "fine-7", "code": "INSUFFICIENT_FUNDS"}
    assert await shop.balance(alice) == ("100.00", "0.00")


async def test_what_is_malformed_or_concerns_nobody_leaves_no_audit_entry(shop: Marketplace, alice: Person) -> None:
    before = await shop.counts()
    path, nobody = f"/users/{alice.id}/balance/debit", "/users/usr_00000000000000000000000000000000/balance/debit"
    await shop.refused("POST", path, {"amount": "1.001"}, status=400, code="INVALID_AMOUNT_FORMAT")
    await shop.refused("POST", nobody, {"amount": "1.00"}, status=404, code="USER_NOT_FOUND")
    assert await shop.counts() == before


@pytest.mark.parametrize("spelling", ["orderId", "reference"])
async def test_a_reservation_is_given_back_in_parts(shop: Marketplace, alice: Person, spelling: str) -> None:
    named = {spelling: "job-1"}
    reserved = await operate(shop, alice, "reserve", amount="30.00", **named)
    assert reserved["operation"] == "RESERVE"
    assert reserved["newBalance"] == {"available": "70.00", "reserved": "30.00"}
    more = await operate(shop, alice, "reserve", amount="5.00", **named)
    assert more["newBalance"] == {"available": "65.00", "reserved": "35.00"}
    back = await operate(shop, alice, "cancel-reservation", amount="34.00", **named)
    assert back["operation"] == "CANCEL_RESERVATION"
    assert back["newBalance"] == {"available": "99.00", "reserved": "1.00"}
    taken = await operate(shop, alice, "deduct-reserved", amount="1.00", **named)
    assert taken["operation"] == "DEDUCT_RESERVED"
    assert taken["newBalance"] == {"available": "99.00", "reserved": "0.00"}
    assert await shop.units(alice.id) == {"available": 99 * UNIT}


@pytest.mark.parametrize(("reference", "recipient"), [("orderId", "sellerId"), ("reference", "recipientId")])
async def test_a_release_pays_the_seller_and_answers_for_him(
    shop: Marketplace, alice: Person, reference: str, recipient: str
) -> None:
    seller = Person((await shop.done("POST", "/users", {"externalUserId": unique("bob")}, status=201))["id"], "")
    await operate(shop, alice, "reserve", amount="40.00", **{reference: "job-1"})
    paid = await operate(shop, alice, "release", amount="25.00", **{reference: "job-1", recipient: seller.id})
    assert paid["operation"] == "RELEASE"
    assert paid["userId"] == seller.id
    assert paid["previousBalance"] == {"available": "0.00", "reserved": "0.00"}
    assert paid["newBalance"] == {"available": "25.00", "reserved": "0.00"}
    assert await shop.balance(alice) == ("60.00", "15.00")
    assert (await shop.events(seller.id))[-1] == "balance.credited"
    assert (await shop.events(alice.id))[-1] == "balance.released"


@pytest.mark.parametrize("operation", ["cancel-reservation", "deduct-reserved", "release"])
async def test_reserved_money_belongs_to_its_reference(shop: Marketplace, alice: Person, operation: str) -> None:
    seller = await shop.done("POST", "/users", {"externalUserId": unique("bob")}, status=201)
    more = {"sellerId": seller["id"]} if operation == "release" else {}
    await operate(shop, alice, "reserve", amount="20.00", orderId="job-1")
    await operate(shop, alice, "reserve", amount="30.00", orderId="job-2")
    path = f"/users/{alice.id}/balance/{operation}"
    before = await shop.counts()
    for amount, reference, held in (
        ("20.01", "job-1", "20.00"),
        ("1.00", "job-3", "0.00"),
        ("50.00", "job-2", "30.00"),
    ):
        body = {"amount": amount, "orderId": reference, **more}
        details = await shop.refused("POST", path, body, status=422, code="RESERVE_NOT_FOUND")
        assert (details["requested"], details["reserved"]) == (amount, held)
    await only_audited(shop, before, 3)
    assert await shop.balance(alice) == ("50.00", "50.00")


@pytest.mark.parametrize("operation", ["cancel-reservation", "deduct-reserved", "release"])
async def test_the_reservation_of_an_order_is_out_of_reach(shop: Marketplace, alice: Person, operation: str) -> None:
    seller = Person((await shop.done("POST", "/users", {"externalUserId": unique("bob")}, status=201))["id"], "")
    order_id = await shop.order(alice, seller, "60.00", "FUNDS_RESERVED")
    more = {"sellerId": seller.id} if operation == "release" else {}
    body = {"amount": "60.00", "orderId": order_id, **more}
    await shop.refused("POST", f"/users/{alice.id}/balance/{operation}", body, status=422, code="RESERVE_NOT_FOUND")
    # The same name for a reservation by hand is another reservation.
    await operate(shop, alice, "reserve", amount="10.00", orderId=order_id)
    await shop.refused("POST", f"/users/{alice.id}/balance/{operation}", body, status=422, code="RESERVE_NOT_FOUND")
    await shop.done("POST", f"/orders/{order_id}/cancel")
    assert await shop.balance(alice) == ("90.00", "10.00")


async def test_release_needs_another_user_who_exists(shop: Marketplace, alice: Person) -> None:
    await operate(shop, alice, "reserve", amount="20.00", orderId="job-1")
    path = f"/users/{alice.id}/balance/release"
    body = {"amount": "1.00", "orderId": "job-1"}
    await shop.refused("POST", path, body, status=400, code="VALIDATION_ERROR")
    await shop.refused("POST", path, {**body, "sellerId": alice.id}, status=400, code="INVALID_REQUEST")
    await shop.refused("POST", path, {**body, "sellerId": "usr_" + "0" * 32}, status=404, code="USER_NOT_FOUND")
    other = await Marketplace.found(shop.live, shop.world, shop.http)
    foreigner = await other.done("POST", "/users", {"externalUserId": unique("far")}, status=201)
    await shop.refused("POST", path, {**body, "sellerId": foreigner["id"]}, status=404, code="USER_NOT_FOUND")
    assert await shop.balance(alice) == ("80.00", "20.00")


@pytest.mark.parametrize("operation", ["reserve", "cancel-reservation", "deduct-reserved"])
@pytest.mark.parametrize("named", [{}, {"orderId": ""}, {"reference": "x" * 256}, {"orderId": 5}])
async def test_a_reservation_needs_a_reference(
    shop: Marketplace, alice: Person, operation: str, named: dict[str, object]
) -> None:
    body = {"amount": "1.00", **named}
    path = f"/users/{alice.id}/balance/{operation}"
    await shop.refused("POST", path, body, status=400, code="VALIDATION_ERROR")
    assert await shop.balance(alice) == ("100.00", "0.00")


@pytest.mark.parametrize("currency", ["EUR", "usd", "", "USDT"])
async def test_other_currencies_are_refused(shop: Marketplace, alice: Person, currency: str) -> None:
    body = {"amount": "1.00", "currency": currency}
    await shop.refused("POST", f"/users/{alice.id}/balance/credit", body, status=400, code="INVALID_CURRENCY")
    assert await shop.balance(alice) == ("100.00", "0.00")


async def test_reading_a_balance(shop: Marketplace, alice: Person) -> None:
    await operate(shop, alice, "reserve", amount="12.34", orderId="job-1")
    heard = await shop.get(f"/users/{alice.id}/balance")
    assert set(heard.json) == BALANCE_FIELDS | {"data", "meta"}
    assert set(heard.data) == BALANCE_FIELDS
    assert (heard.data["available"], heard.data["reserved"], heard.data["total"]) == ("87.66", "12.34", "100.00")


async def test_sync_and_verify_compare_the_books_with_the_chain(shop: Marketplace) -> None:
    [bob] = await shop.people("10")
    synced = await shop.done("POST", f"/users/{bob.id}/balance/sync")
    assert (synced["synced"], synced["action"]) == (True, "none")
    assert (synced["localBalance"], synced["providerBalance"], synced["discrepancy"]) == ("10.00", "10.00", "0.00")
    assert (await shop.done("GET", f"/users/{bob.id}/balance/verify"))["providerVerified"] is True

    await shop.credit(bob, "1.00")
    flagged = await shop.done("POST", f"/users/{bob.id}/balance/sync")
    assert (flagged["action"], flagged["discrepancy"], flagged["localBalance"]) == ("flagged", "-1.00", "11.00")
    assert (await shop.done("GET", f"/users/{bob.id}/balance/verify"))["providerVerified"] is False

    await shop.credit(bob, "0.01")
    details = await shop.refused("GET", f"/users/{bob.id}/balance/verify", status=409, code="BALANCE_DISCREPANCY")
    assert (details["localBalance"], details["providerBalance"], details["difference"]) == ("11.01", "10.00", "-1.01")
    assert await shop.balance(bob) == ("11.01", "0.00"), "comparing changes nothing"


async def test_one_idempotency_key_is_one_credit(shop: Marketplace, alice: Person) -> None:
    path, body = f"/users/{alice.id}/balance/credit", {"amount": "5.00", "reference": "r"}
    first = await shop.post(path, body, key="credit-1")
    again = await shop.post(path, dict(reversed(list(body.items()))), key="credit-1")
    assert first.status == again.status == 200
    assert again.body == first.body
    assert again.headers["idempotency-replay"] == "true"
    assert "idempotency-replay" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    await shop.refused("POST", path, {"amount": "6.00"}, status=409, code="IDEMPOTENCY_KEY_REUSED", key="credit-1")
    debit = f"/users/{alice.id}/balance/debit"
    await shop.refused("POST", debit, body, status=409, code="IDEMPOTENCY_KEY_REUSED", key="credit-1")
    assert await shop.balance(alice) == ("105.00", "0.00")


async def test_a_refusal_is_the_answer_of_its_key_too(shop: Marketplace, alice: Person) -> None:
    path, body = f"/users/{alice.id}/balance/debit", {"amount": "100.01"}
    first = await shop.post(path, body, key="debit-1")
    assert (first.status, first.code) == (422, "INSUFFICIENT_FUNDS")
    await shop.credit(alice, "50.00")
    again = await shop.post(path, body, key="debit-1")
    assert again.body == first.body, "the key has its answer; a new try needs a new key"
    assert await shop.balance(alice) == ("150.00", "0.00")

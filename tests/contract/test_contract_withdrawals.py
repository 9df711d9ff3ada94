"""Contract 2.10: withdrawals to the chain and through Airtm, with events (6.2) and audit (6.3)."""

from typing import Any

import pytest

from support.outside import World
from support.product import Marketplace, Person, unique
from support.wire import AMOUNT, CURRENCY, HASH, TEXT, TIME, Omittable, an_id, check, opened, told

WITHDRAWAL = {
    "id": an_id("wd"),
    "userId": an_id("usr"),
    "amount": AMOUNT,
    "fee": Omittable(AMOUNT),
    "currency": CURRENCY,
    "status": TEXT,
    "destinationType": ("bank", "crypto", "airtm_balance"),
    "destinationRef": TEXT,
    "airtmPayoutId": Omittable(TEXT),
    "transactionHash": Omittable(HASH),
    "failureReason": Omittable(TEXT),
    "description": Omittable(TEXT),
    "memo": Omittable(TEXT),
    "committed": bool,
    "createdAt": TIME,
    "updatedAt": TIME,
}
FACTS = {"withdrawalId": an_id("wd"), "userId": an_id("usr"), "amount": AMOUNT}
CREATED = {**FACTS, "currency": CURRENCY, "destinationType": TEXT, "destinationRef": TEXT}
COMPLETED = {
    **FACTS,
    "currency": CURRENCY,
    "completedAt": TIME,
    "airtmPayoutId": Omittable(TEXT),
    "transactionHash": Omittable(HASH),
    "fee": Omittable(AMOUNT),
}


@pytest.mark.claims(
    "POST /withdrawals",
    "GET /withdrawals",
    "GET /withdrawals/{withdrawal_id}",
    "POST /withdrawals/{withdrawal_id}/refresh",
)
async def test_a_withdrawal_to_the_chain(shop: Marketplace, pair: tuple[Person, Person], world: World) -> None:
    buyer, _ = pair
    target, _ = await world.outside_wallet()
    body = {"userId": buyer.id, "amount": "5.00", "destinationType": "stellar", "destination": target}
    available = (await shop.units(buyer.id))["available"]
    made = opened(await shop.post("/withdrawals", {**body, "description": "Out"}), "FLAT", WITHDRAWAL, 201)
    assert (made["status"], made["committed"], made["destinationType"]) == ("WITHDRAWAL_COMPLETED", True, "crypto")
    assert (made["destinationRef"], made["description"], "transactionHash" in made) == (target, "Out", True)
    assert not {"airtmPayoutId", "failureReason", "memo"} & set(made)
    one = f"/withdrawals/{made['id']}"
    assert opened(await shop.get(f"{one}?userId={buyer.id}"), "FLAT", WITHDRAWAL) == made
    assert opened(await shop.post(f"{one}/refresh"), "FLAT", WITHDRAWAL) == made
    assert made in opened(await shop.get(f"/withdrawals?userId={buyer.id}"), "LIST", WITHDRAWAL)
    assert made in opened(await shop.get("/withdrawals"), "LIST", WITHDRAWAL)
    await shop.refused("GET", f"{one}?userId={pair[1].id}", status=404, code="WITHDRAWAL_NOT_FOUND")
    details = await shop.refused("POST", f"{one}/commit", status=409, code="WITHDRAWAL_NOT_COMMITTABLE")
    assert details["currentStatus"] == "WITHDRAWAL_COMPLETED"
    assert (await shop.units(buyer.id))["available"] == available - 50_000_000
    created, completed = await told(shop, made["id"])
    assert {created.aggregate, completed.aggregate} == {"Withdrawal"}
    check(created.payload, CREATED)
    check(completed.payload, COMPLETED)
    debited = [event for event in await told(shop, buyer.id) if event.type == "balance.debited"][-1]
    assert (debited.payload["destination"], debited.payload["destinationId"]) == ("withdrawal", made["id"])
    assert {"WITHDRAWAL_CREATED", "WITHDRAWAL_COMPLETED"} <= set(await shop.audit(made["id"]))


async def test_what_is_no_withdrawal(shop: Marketplace, pair: tuple[Person, Person], world: World) -> None:
    target, _ = await world.outside_wallet()
    body = {"userId": pair[0].id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"userId": None}, 400, "VALIDATION_ERROR"),
        ({"destinationRef": None}, 400, "VALIDATION_ERROR"),
        ({"destinationType": "cash"}, 400, "VALIDATION_ERROR"),
        ({"amount": "5.0"}, 400, "INVALID_AMOUNT_FORMAT"),
        ({"currency": "EUR"}, 400, "INVALID_CURRENCY"),
        ({"userId": "usr_nobody"}, 404, "USER_NOT_FOUND"),
        ({"amount": "999999.00"}, 422, "INSUFFICIENT_FUNDS"),
        ({"destinationRef": "GABC"}, 422, "WITHDRAWAL_DESTINATION_INVALID"),
        ({"destinationType": "bank"}, 422, "PROVIDER_NOT_ENABLED"),
    ]
    before = await shop.counts()
    for change, status, code in cases:
        details = await shop.refused("POST", "/withdrawals", {**body, **change}, status=status, code=code)
        if code == "INSUFFICIENT_FUNDS":
            assert details["requested"] == "999999.00"
            check(details["available"], AMOUNT)
    assert await shop.counts() == before


async def linked(shop: Marketplace, credit: str) -> Person:
    """A user with an Airtm account and some money."""
    made = await shop.done("POST", "/users", {"externalUserId": unique("payee")}, status=201)
    person = Person(made["id"], made["wallet"]["publicKey"])
    await shop.done("POST", f"/users/{person.id}/airtm/link", {"email": f"{unique('payee')}@example.com"})
    await shop.credit(person, credit)
    return person


@pytest.mark.claims(
    "POST /withdrawals/{withdrawal_id}/commit",
    "POST /withdrawals/{withdrawal_id}/cancel",
    "DELETE /withdrawals/{withdrawal_id}",
)
async def test_a_withdrawal_through_airtm(airtm_shop: Marketplace, world: World) -> None:
    shop, payee = airtm_shop, await linked(airtm_shop, "20.00")
    body = {"userId": payee.id, "amount": "5.00", "destinationType": "bank", "destinationRef": "iban"}
    made = opened(await shop.post("/withdrawals", body), "FLAT", WITHDRAWAL, 201)
    assert (made["status"], made["committed"], "airtmPayoutId" in made) == ("WITHDRAWAL_CREATED", False, True)
    one = f"/withdrawals/{made['id']}"
    assert await shop.balance(payee) == ("15.00", "5.00")
    committed = opened(await shop.post(f"{one}/commit"), "FLAT", WITHDRAWAL)
    assert committed["committed"] is True
    await world.airtm_payout(made["airtmPayoutId"], "complete")
    done = opened(await shop.post(f"{one}/refresh"), "FLAT", WITHDRAWAL)
    assert done["status"] == "WITHDRAWAL_COMPLETED"
    assert await shop.balance(payee) == ("15.00", "0.00")
    events = {event.type: event for event in await told(shop, made["id"])}
    check(events["withdrawal.created"].payload, CREATED)
    amounts = {"committedBalance": AMOUNT, "availableBalance": AMOUNT}
    check(events["withdrawal.committed"].payload, {**FACTS, "currency": CURRENCY, **amounts})
    check(events["withdrawal.completed"].payload, COMPLETED)
    if "withdrawal.pending" in events:
        check(events["withdrawal.pending"].payload, {**FACTS, "airtmPayoutId": TEXT})

    for number, (method, tail) in enumerate((("POST", "/cancel"), ("DELETE", "")), 1):
        again = await shop.done("POST", "/withdrawals", {**body, "destinationType": "airtm"}, status=201)
        assert again["destinationType"] == "airtm_balance"
        gone = opened(await shop.send(method, f"/withdrawals/{again['id']}{tail}"), "FLAT", WITHDRAWAL)
        assert gone["status"] == "WITHDRAWAL_CANCELED"
        assert await shop.balance(payee) == ("15.00", "0.00")
        [canceled] = await told(shop, again["id"], "withdrawal.canceled")
        assert canceled.payload.items() >= {"withdrawalId": again["id"], "amount": "5.00"}.items()
        assert canceled.payload["canceledBy"] in ("user", "system", "admin")
        assert {"refundedToBalance", "newAvailableBalance"} <= set(canceled.payload)
        backs = [one for one in await told(shop, payee.id) if one.payload.get("source") == "withdrawal_cancel"]
        assert len(backs) == number


async def test_a_failed_payout_is_told(airtm_shop: Marketplace, world: World) -> None:
    payee = await linked(airtm_shop, "20.00")
    body = {"userId": payee.id, "amount": "5.00", "destinationType": "bank", "destinationRef": "iban"}
    made = await airtm_shop.done("POST", "/withdrawals", {**body, "commit": True}, status=201)
    await world.airtm_payout(made["airtmPayoutId"], "fail")
    failed = opened(await airtm_shop.post(f"/withdrawals/{made['id']}/refresh"), "FLAT", WITHDRAWAL)
    assert (failed["status"], "failureReason" in failed) == ("WITHDRAWAL_FAILED", True)
    [event] = await told(airtm_shop, made["id"], "withdrawal.failed")
    more = {"errorCode": Omittable(TEXT), "airtmPayoutId": Omittable(TEXT), "currency": Omittable(CURRENCY)}
    check(event.payload, {**FACTS, "reason": TEXT, **more})
    assert await airtm_shop.balance(payee) == ("20.00", "0.00")

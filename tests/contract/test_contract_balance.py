"""Contract 2.4: every operation on a balance, as it answers, as it is booked, told of and recorded."""

from dataclasses import dataclass
from typing import Any

import pytest

from support.product import Marketplace, Person, unique
from support.wire import AMOUNT, CURRENCY, SIGNED_AMOUNT, TIME, an_id, check, opened, told

UNIT = 10_000_000
PARTS = {"available": AMOUNT, "reserved": AMOUNT}
BALANCE = {
    "user_id": an_id("usr"),
    "userId": an_id("usr"),
    **PARTS,
    "total": AMOUNT,
    "currency": CURRENCY,
    "updated_at": TIME,
    "updatedAt": TIME,
}
HELD = {
    "userId": an_id("usr"),
    "amount": AMOUNT,
    "currency": CURRENCY,
    "orderId": ("job",),
    "previousReservedBalance": AMOUNT,
    "newReservedBalance": AMOUNT,
    "previousAvailableBalance": AMOUNT,
    "newAvailableBalance": AMOUNT,
}
MOVED = {
    "userId": an_id("usr"),
    "amount": AMOUNT,
    "currency": CURRENCY,
    "previousAvailableBalance": AMOUNT,
    "newAvailableBalance": AMOUNT,
}
CREDITED = {**MOVED, "source": ("other", "release"), "sourceId": ("gift", "job")}


@dataclass(frozen=True)
class Operation:
    """One row of 2.4; (available, reserved) of the payer before it is ("100.00", "40.00")."""

    path: str
    body: dict[str, str]
    name: str
    after: tuple[str, str]
    posting: str
    events: dict[str, dict[str, Any]]
    audit: str
    reason: str | None = None


OPERATIONS = [
    Operation(
        "credit",
        {"reference": "gift", "description": "A gift"},
        "CREDIT_AVAILABLE",
        ("107.00", "40.00"),
        "manual_credit",
        {"balance.credited": CREDITED},
        "CREDIT_AVAILABLE",
    ),
    Operation(
        "debit",
        {"reference": "gift"},
        "DEBIT_AVAILABLE",
        ("93.00", "40.00"),
        "manual_debit",
        {"balance.debited": {**MOVED, "destination": ("other",), "destinationId": ("gift",)}},
        "DEBIT_AVAILABLE",
    ),
    Operation(
        "reserve",
        {"orderId": "job"},
        "RESERVE",
        ("93.00", "47.00"),
        "hold",
        {"balance.reserved": HELD},
        "RESERVE",
    ),
    Operation(
        "cancel-reservation",
        {"orderId": "job"},
        "CANCEL_RESERVATION",
        ("107.00", "33.00"),
        "void",
        {"balance.released": {**HELD, "reason": ("cancel",)}},
        "CANCEL_RESERVATION",
    ),
    Operation(
        "deduct-reserved",
        {"orderId": "job"},
        "DEDUCT_RESERVED",
        ("100.00", "33.00"),
        "manual_deduct",
        {"balance.released": {**HELD, "reason": ("other",)}},
        "DEDUCT_RESERVED",
    ),
    Operation(
        "release",
        {"orderId": "job"},
        "RELEASE",
        ("100.00", "33.00"),
        "manual_release",
        {"balance.released": {**HELD, "reason": ("other",)}},
        "RELEASE",
    ),
]


async def holder(shop: Marketplace) -> Person:
    """A user with 100.00 available and 40.00 reserved for `job`."""
    made = await shop.done("POST", "/users", {"externalUserId": unique("holder")}, status=201)
    person = Person(made["id"], made["wallet"]["publicKey"])
    await shop.credit(person, "140.00")
    await shop.done("POST", f"/users/{person.id}/balance/reserve", {"amount": "40.00", "orderId": "job"})
    return person


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.path, marks=pytest.mark.claims(f"POST /users/{{user_id}}/balance/{case.path}"))
        for case in OPERATIONS
    ],
)
async def test_an_operation(shop: Marketplace, case: Operation) -> None:
    payer = await holder(shop)
    seller = Person((await shop.done("POST", "/users", {"externalUserId": unique("s")}, status=201))["id"], "")
    release = case.path == "release"
    body = {"amount": "7.00", **case.body} | ({"sellerId": seller.id} if release else {})
    subject = seller if release else payer
    before, wrote = await shop.balance(subject), len(await shop.live.rows("SELECT FROM audit_entries"))
    heard = await shop.post(f"/users/{payer.id}/balance/{case.path}", body)
    form = {
        **BALANCE,
        "success": (True,),
        "operation": (case.name,),
        "amount": ("7.00",),
        "previousBalance": PARTS,
        "newBalance": PARTS,
        "auditLogId": an_id("aud"),
        "balance": BALANCE,
    }
    found = opened(heard, "FLAT", form)
    assert found["user_id"] == found["userId"] == found["balance"]["userId"] == subject.id
    assert (found["previousBalance"]["available"], found["previousBalance"]["reserved"]) == before
    assert found["newBalance"] == {"available": found["available"], "reserved": found["reserved"]}
    assert {name: found[name] for name in BALANCE} == found["balance"]
    assert await shop.balance(payer) == case.after
    if release:
        assert await shop.balance(seller) == ("7.00", "0.00")
    subject_of_entry = "job" if "orderId" in case.body else payer.id
    assert (await shop.postings(subject_of_entry))[-1] == case.posting
    assert sum((await shop.units(payer.id)).values()) == sum(int(float(part) * UNIT) for part in case.after)

    for name, payload in case.events.items():
        event = [one for one in await told(shop, payer.id) if one.type == name][-1]
        assert (event.aggregate, event.metadata["userId"]) == ("Balance", payer.id)
        check(event.payload, payload, name)
        assert event.payload["newAvailableBalance"] == case.after[0]
        assert event.payload["amount"] == "7.00"
    if release:
        [credited] = await told(shop, seller.id, "balance.credited")
        check(credited.payload, CREDITED)
        assert (credited.payload["source"], credited.payload["newAvailableBalance"]) == ("release", "7.00")
    sql = "SELECT action, resource_type, resource_id, actor_type, result FROM audit_entries WHERE id = $1"
    [entry] = await shop.live.rows(sql, found["auditLogId"])
    assert tuple(entry.values()) == (case.audit, "Balance", subject.id, "API_KEY", "SUCCESS")
    assert len(await shop.live.rows("SELECT FROM audit_entries")) > wrote


@pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: case.path)
async def test_what_is_not_there_is_not_moved(shop: Marketplace, case: Operation) -> None:
    payer = await holder(shop)
    other = await shop.done("POST", "/users", {"externalUserId": unique("s")}, status=201)
    path = f"/users/{payer.id}/balance/{case.path}"
    more = {"sellerId": other["id"]} if case.path == "release" else {}
    if case.path in ("debit", "reserve"):
        body = {"amount": "100.01", **case.body}
        details = await shop.refused("POST", path, body, status=422, code="INSUFFICIENT_FUNDS")
        assert {name: details[name] for name in ("requested", "available", "currency")} == {
            "requested": "100.01",
            "available": "100.00",
            "currency": "USD",
        }
    elif case.path != "credit":
        body = {"amount": "40.01", **case.body, **more}
        details = await shop.refused("POST", path, body, status=422, code="RESERVE_NOT_FOUND")
        assert {name: details[name] for name in ("requested", "reserved", "currency")} == {
            "requested": "40.01",
            "reserved": "40.00",
            "currency": "USD",
        }
    # The SDK's spellings, and the documented one first when both are there.
    if "orderId" in case.body:
        sdk = {"amount": "1.00", "reference": "job"} | ({"recipientId": other["id"]} if more else {})
        await shop.done("POST", path, sdk)
        await shop.done("POST", path, {**sdk, "orderId": "job", "reference": "another"})
        if case.path != "reserve":
            wrong = {**sdk, "orderId": "another"}
            await shop.refused("POST", path, wrong, status=422, code="RESERVE_NOT_FOUND")


@pytest.mark.claims("GET /users/{user_id}/balance")
async def test_a_balance_is_read(shop: Marketplace) -> None:
    payer = await holder(shop)
    found = opened(await shop.get(f"/users/{payer.id}/balance"), "FLAT", BALANCE)
    assert (found["available"], found["reserved"], found["total"]) == ("100.00", "40.00", "140.00")
    await shop.refused("GET", "/users/usr_nobody/balance", status=404, code="USER_NOT_FOUND")


@pytest.mark.claims("POST /users/{user_id}/balance/sync", "GET /users/{user_id}/balance/verify")
async def test_the_books_and_the_chain(shop: Marketplace) -> None:
    [person] = await shop.people("3")
    path = f"/users/{person.id}/balance"
    form = {
        **BALANCE,
        "synced": bool,
        "localBalance": AMOUNT,
        "providerBalance": AMOUNT,
        "discrepancy": SIGNED_AMOUNT,
        "action": ("none", "flagged"),
    }
    synced = opened(await shop.post(f"{path}/sync"), "FLAT", form)
    assert (synced["synced"], synced["discrepancy"], synced["action"]) == (True, "0.00", "none")
    verified = opened(await shop.get(f"{path}/verify"), "FLAT", {**BALANCE, "providerVerified": bool})
    assert verified["providerVerified"] is True
    await shop.credit(person, "1.01")
    synced = opened(await shop.post(f"{path}/sync"), "FLAT", form)
    assert (synced["discrepancy"], synced["action"]) == ("-1.01", "flagged")
    details = await shop.refused("GET", f"{path}/verify", status=409, code="BALANCE_DISCREPANCY")
    assert {**details, "requestId": None} == {
        "userId": person.id,
        "localBalance": "4.01",
        "providerBalance": "3.00",
        "currency": "USD",
        "difference": "-1.01",
        "requestId": None,
    }


async def test_a_wallet_that_is_not_ready_is_not_synced(shop: Marketplace, world: Any, mended: None) -> None:
    fault = await world.fault("horizon", "/friendbot", "error_before")
    made = await shop.done("POST", "/users", {"externalUserId": unique("early")}, status=201)
    synced = await shop.done("POST", f"/users/{made['id']}/balance/sync")
    assert (synced["synced"], synced["providerBalance"], synced["discrepancy"]) == (False, "0.00", "0.00")
    assert (await shop.done("GET", f"/users/{made['id']}/balance/verify"))["providerVerified"] is False
    assert await fault.fired() >= 0


async def test_a_deposit_is_told_in_both_shapes(shop: Marketplace) -> None:
    [person] = await shop.people("2.5")
    [event] = await told(shop, person.id, "balance.credited")
    assert event.aggregate in ("User", "Balance")
    assert (
        event.payload.items()
        >= {
            "userId": person.id,
            "amount": "2.5000000",
            "source": "stellar_deposit",
            "newBalance": "2.50",
            "previousAvailableBalance": "0.00",
            "newAvailableBalance": "2.50",
        }.items()
    )
    assert len(event.payload["transactionHash"]) == 64

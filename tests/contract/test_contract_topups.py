"""Contract 2.6: top-ups, with events (6.2) and audit (6.3)."""

import pytest

from support.outside import World
from support.product import Marketplace, Person, unique
from support.wire import AMOUNT, CURRENCY, TEXT, TIME, Omittable, an_id, check, opened, told

TOPUP = {
    "id": an_id("topup"),
    "userId": an_id("usr"),
    "amount": AMOUNT,
    "currency": CURRENCY,
    "status": TEXT,
    "airtmPayinId": Omittable(TEXT),
    "confirmationUri": Omittable(TEXT),
    "failureReason": Omittable(TEXT),
    "description": Omittable(TEXT),
    "expiresAt": Omittable(TIME),
    "createdAt": TIME,
    "updatedAt": TIME,
    "netAmount": Omittable(AMOUNT),
    "fee": Omittable(AMOUNT),
}
AWAITING = "TOPUP_AWAITING_USER_CONFIRMATION"
TERMS = {"userId": an_id("usr"), "amount": AMOUNT, "currency": CURRENCY}
TOLD = {"topupId": an_id("topup"), **TERMS, "airtmPayinId": TEXT}


async def payer(shop: Marketplace) -> Person:
    """A user with an Airtm account."""
    made = await shop.done("POST", "/users", {"externalUserId": unique("payer")}, status=201)
    await shop.done("POST", f"/users/{made['id']}/airtm/link", {"email": f"{unique('payer')}@example.com"})
    return Person(made["id"], made["wallet"]["publicKey"])


@pytest.mark.claims(
    "POST /topups",
    "GET /topups",
    "GET /topups/{topup_id}",
    "POST /topups/{topup_id}/refresh",
    "GET /topups/{topup_id}/callback",
)
async def test_a_topup(airtm_shop: Marketplace, world: World) -> None:
    shop, person = airtm_shop, await payer(airtm_shop)
    extras = {"return_url": "https://shop.example", "cancel_url": "https://shop.example", "metadata": {"a": 1}}
    body = {"amount": "25.00", "user_id": person.id, "description": "May", **extras}
    made = opened(await shop.post("/topups", body), "FLAT", TOPUP, 201)
    assert (made["status"], made["userId"], made["description"]) == (AWAITING, person.id, "May")
    one = f"/topups/{made['id']}"
    assert opened(await shop.get(one), "FLAT", TOPUP) == made
    assert made in opened(await shop.get(f"/topups?userId={person.id}"), "LIST", TOPUP)
    await world.airtm_payin(made["airtmPayinId"], "process")
    assert opened(await shop.post(f"{one}/refresh"), "FLAT", TOPUP)["status"] == "TOPUP_PROCESSING"
    await world.airtm_payin(made["airtmPayinId"], "confirm")
    async with shop.http.get(f"{shop.live.url}/api/v1{one}/callback?status=x&code=y", allow_redirects=False) as back:
        assert back.status == 302
        assert back.headers["location"].endswith("/topups/success")
    done = opened(await shop.post(f"{one}/refresh"), "FLAT", TOPUP)
    assert done["status"] == "TOPUP_SUCCEEDED"
    assert await shop.balance(person) == ("25.00", "0.00")
    assert await shop.postings(made["id"]) == ["topup"]

    created, waiting, processing, succeeded = await told(shop, made["id"])
    assert {event.aggregate for event in (created, waiting, processing, succeeded)} == {"TopUp"}
    check(created.payload, {**TERMS, "topupId": Omittable(an_id("topup"))})
    check(waiting.payload, {**TOLD, "confirmationUri": TEXT})
    check(processing.payload, TOLD)
    arrived = {"newAvailableBalance": ("25.00",), "newBalance": Omittable(("25.00",))}
    check(succeeded.payload, {**TOLD, **arrived, "netAmount": ("25.00",), "fee": ("0.00",)})
    [credited] = await told(shop, person.id, "balance.credited")
    assert (credited.payload["source"], credited.payload["sourceId"]) == ("topup", made["id"])
    actions = [name for name in await shop.audit(made["id"]) if name.isupper()]
    assert actions == ["TOPUP_CREATED", AWAITING, "TOPUP_PROCESSING", "TOPUP_SUCCEEDED"]


@pytest.mark.claims("POST /topups/{topup_id}/cancel")
async def test_a_topup_is_canceled(airtm_shop: Marketplace) -> None:
    shop, person = airtm_shop, await payer(airtm_shop)
    made = await shop.done("POST", "/topups", {"amount": "5.00", "userId": person.id}, status=201)
    one = f"/topups/{made['id']}"
    gone = opened(await shop.post(f"{one}/cancel"), "FLAT", TOPUP)
    assert gone["status"] == "TOPUP_CANCELED"
    [event] = await told(shop, made["id"], "topup.canceled")
    check(event.payload, {**TOLD, "canceledBy": ("user", "system", "admin"), "reason": Omittable(TEXT)})
    details = await shop.refused("POST", f"{one}/cancel", status=409, code="INVALID_STATE")
    assert (details["currentStatus"], details["allowedStatuses"]) == ("TOPUP_CANCELED", [AWAITING])
    assert opened(await shop.post(f"{one}/refresh"), "FLAT", TOPUP) == gone


async def test_a_topup_fails(airtm_shop: Marketplace, world: World) -> None:
    shop, person = airtm_shop, await payer(airtm_shop)
    made = await shop.done("POST", "/topups", {"amount": "5.00", "userId": person.id}, status=201)
    await world.airtm_payin(made["airtmPayinId"], "fail")
    failed = opened(await shop.post(f"/topups/{made['id']}/refresh"), "FLAT", TOPUP)
    assert (failed["status"], "failureReason" in failed) == ("TOPUP_FAILED", True)
    [event] = await told(shop, made["id"], "topup.failed")
    check(event.payload, {**TOLD, "reason": TEXT, "errorCode": Omittable(TEXT)})


async def test_a_bound_key_supplies_its_user(airtm_shop: Marketplace) -> None:
    person = await payer(airtm_shop)
    await airtm_shop.refused("POST", "/topups", {"amount": "5.00"}, status=400, code="VALIDATION_ERROR")
    own = await airtm_shop.with_key("topups", userId=person.id)
    made = opened(await own.post("/topups", {"amount": "5.00"}), "FLAT", TOPUP, 201)
    assert made["userId"] == person.id
    assert [one["id"] for one in await own.done("GET", "/topups")] == [made["id"]]

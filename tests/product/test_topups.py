"""Top-ups through Airtm: what a user pays is credited once, as much of it as arrived (contract 2.6)."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from offerhub.sandbox.airtm_model import Person as AirtmPerson
from offerhub.topups.jobs import refresh_unsettled
from support.outside import World, eventually
from support.product import Marketplace, Person, Running, running, unique

UNIT: Final = 10_000_000
SUCCESS, CANCEL = "http://localhost:3001/topups/success", "http://localhost:3001/topups/canceled"
AWAITING: Final = "TOPUP_AWAITING_USER_CONFIRMATION"
NOWHERE: Final = "/topups/topup_" + "0" * 32

pytestmark = pytest.mark.usefixtures("mended")


@dataclass(frozen=True)
class Payer(Person):
    """A user with an Airtm account."""

    email: str

    def body(self, amount: str = "25.00", **more: Any) -> dict[str, Any]:
        return {"userId": self.id, "amount": amount, **more}


async def new_payer(shop: Marketplace) -> Payer:
    made = await shop.done("POST", "/users", {"externalUserId": unique("payer")}, status=201)
    email = f"{unique('payer')}@example.com"
    await shop.done("POST", f"/users/{made['id']}/airtm/link", {"email": email})
    return Payer(made["id"], made["wallet"]["publicKey"], email)


@pytest.fixture
async def payer(airtm_shop: Marketplace) -> Payer:
    return await new_payer(airtm_shop)


async def begun(shop: Marketplace, payer: Payer, amount: str = "25.00", **more: Any) -> dict[str, Any]:
    """A top-up that waits for its user."""
    found: dict[str, Any] = await shop.done("POST", "/topups", payer.body(amount, **more), status=201)
    assert found["status"] == AWAITING, found
    return found


async def pay(shop: Marketplace, topup: dict[str, Any], email: str) -> str:
    """Pay at the page that the user was sent to; returns where the browser goes next."""
    form = {"action": "pay", "email": email}
    async with shop.http.post(topup["confirmationUri"], data=form, allow_redirects=False) as answer:
        assert answer.status == 303, await answer.text()
        return answer.headers["location"]


async def go_back(shop: Marketplace, path: str) -> tuple[int, str]:
    """A browser comes back to us: (status, where it is sent)."""
    async with shop.http.get(f"{shop.live.url}/api/v1{path}", allow_redirects=False) as answer:
        assert await answer.read() == b""
        return answer.status, answer.headers["location"]


async def test_a_user_pays(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    shop = airtm_shop
    heard = await shop.post("/topups", payer.body("25.50", description="May", currency="USD"))
    assert heard.status == 201
    topup = heard.data
    assert {name: heard.json[name] for name in topup} == topup, "the fields are at the top as well"
    one = f"/topups/{topup['id']}"
    assert (topup["status"], topup["userId"]) == (AWAITING, payer.id)
    assert (topup["amount"], topup["currency"], topup["description"]) == ("25.50", "USD", "May")
    assert not {"netAmount", "fee", "failureReason"} & set(topup)
    [payin] = await world.airtm_payins(topup["id"])
    assert (payin["id"], payin["amount"], payin["description"]) == (topup["airtmPayinId"], 25.5, "May")
    assert await shop.done("GET", one) == topup
    assert await go_back(shop, f"{one}/callback") == (302, CANCEL), "nothing is paid yet"

    back = urlsplit(await pay(shop, topup, payer.email))
    assert (back.path, parse_qs(back.query)) == (f"{one}/callback", {"code": [topup["id"]]})
    assert await go_back(shop, f"{one}/callback?{back.query}") == (302, SUCCESS)
    assert (await shop.done("GET", one))["status"] == "TOPUP_PROCESSING"
    assert await shop.balance(payer) == ("0.00", "0.00"), "coming back proves nothing"

    await world.airtm_payin(payin["id"], "confirm")
    done = await shop.done("POST", f"{one}/refresh")
    assert (done["status"], done["netAmount"], done["fee"]) == ("TOPUP_SUCCEEDED", "25.50", "0.00")
    assert await shop.balance(payer) == ("25.50", "0.00")
    assert await shop.done("POST", f"{one}/refresh") == done == await shop.done("GET", one)
    assert await go_back(shop, f"{one}/callback") == (302, SUCCESS)
    assert await shop.events(topup["id"]) == [
        *("topup.created", "topup.confirmation_required", "topup.processing", "topup.succeeded"),
    ]
    assert await shop.postings(topup["id"]) == ["topup"]
    assert {"TOPUP_CREATED", AWAITING, "TOPUP_PROCESSING", "TOPUP_SUCCEEDED"} <= set(await shop.audit(topup["id"]))
    assert await shop.sagas(topup["id"]) == [("topup.create", "SUCCEEDED")]
    credited = await shop.live.value(
        "SELECT payload FROM events WHERE aggregate_id = $1 AND type = 'balance.credited'", payer.id
    )
    assert (credited["source"], credited["sourceId"], credited["amount"]) == ("topup", topup["id"], "25.50")


async def test_airtms_fee_is_the_payers(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    topup = await begun(airtm_shop, payer, "100.00")
    await world.airtm_payin(topup["airtmPayinId"], "confirm", fee="2.75")
    done = await airtm_shop.done("POST", f"/topups/{topup['id']}/refresh")
    assert (done["amount"], done["netAmount"], done["fee"]) == ("100.00", "97.25", "2.75")
    assert await airtm_shop.units(payer.id) == {"available": 972_500_000}


@pytest.mark.parametrize(("action", "end"), [("fail", "TOPUP_FAILED"), ("cancel", "TOPUP_CANCELED")])
async def test_a_payment_that_comes_to_nothing(
    airtm_shop: Marketplace, payer: Payer, world: World, action: str, end: str
) -> None:
    topup = await begun(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], action)
    assert await go_back(airtm_shop, f"/topups/{topup['id']}/callback?status=confirmed") == (302, CANCEL)
    done = await airtm_shop.done("GET", f"/topups/{topup['id']}")
    assert done["status"] == end
    assert done.get("failureReason") == ("The payment was declined" if action == "fail" else None)
    assert await airtm_shop.balance(payer) == ("0.00", "0.00")
    assert (await airtm_shop.events(topup["id"]))[-1] == end.lower().replace("_", ".", 1)


async def test_somebody_else_pays(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    topup = await begun(airtm_shop, payer)
    await pay(airtm_shop, topup, "stranger@example.com")
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    for _ in range(2):
        after = await airtm_shop.done("POST", f"/topups/{topup['id']}/refresh")
        assert after["status"] == AWAITING
    assert await airtm_shop.balance(payer) == ("0.00", "0.00")
    assert (await airtm_shop.audit(topup["id"])).count("DISCREPANCY_FOUND") == 1


async def test_twenty_refreshes_at_once_credit_once(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    topup = await begun(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], "confirm")
    one = f"/topups/{topup['id']}"
    refreshes = asyncio.gather(*(airtm_shop.done("POST", f"{one}/refresh") for _ in range(20)))
    browsers = asyncio.gather(*(go_back(airtm_shop, f"{one}/callback") for _ in range(5)))
    assert {found["status"] for found in await refreshes} == {"TOPUP_SUCCEEDED"}
    assert set(await browsers) == {(302, SUCCESS)}
    assert await airtm_shop.units(payer.id) == {"available": 25 * UNIT}
    assert (await airtm_shop.events(topup["id"])).count("topup.succeeded") == 1


# -- who may, and what is asked for ---------------------------------------------------------------------------------


async def test_what_is_not_a_top_up_is_refused(airtm_shop: Marketplace, payer: Payer) -> None:
    [stranger] = await airtm_shop.people(None)
    before = await airtm_shop.counts()
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"amount": "25.00"}, 400, "VALIDATION_ERROR"),
        ({"userId": payer.id}, 400, "VALIDATION_ERROR"),
        (payer.body("25"), 400, "INVALID_AMOUNT_FORMAT"),
        (payer.body("0.00"), 400, "INVALID_AMOUNT_FORMAT"),
        (payer.body("-1.00"), 400, "INVALID_AMOUNT_FORMAT"),
        (payer.body(currency="EUR"), 400, "INVALID_CURRENCY"),
        (payer.body(surprise=1), 400, "VALIDATION_ERROR"),
        (payer.body(description="x" * 251), 400, "VALIDATION_ERROR"),
        ({"userId": "usr_" + "0" * 32, "amount": "1.00"}, 404, "USER_NOT_FOUND"),
    ]
    for body, status, code in cases:
        await airtm_shop.refused("POST", "/topups", body, status=status, code=code)
    body = {"userId": stranger.id, "amount": "1.00"}
    await airtm_shop.refused("POST", "/topups", body, status=422, code="AIRTM_USER_NOT_LINKED")
    assert await airtm_shop.counts() == before


async def test_other_spellings_are_taken(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    more = {"return_url": "https://evil.example", "cancel_url": "https://evil.example", "metadata": {"a": 1}}
    body = {"user_id": payer.id, "amount": "1.00", "currency": "USDC", **more}
    topup = await airtm_shop.done("POST", "/topups", body, status=201)
    assert (topup["userId"], topup["currency"]) == (payer.id, "USDC")
    assert "evil" not in str(await world.airtm_payins(topup["id"]))
    assert await go_back(airtm_shop, f"/topups/{topup['id']}/callback?return_url=https://evil.example") == (
        302,
        CANCEL,
    )


@pytest.mark.parametrize(
    ("tags", "reason"),
    [("+inactive", "USER_INACTIVE"), ("+unverified", "USER_NOT_VERIFIED"), ("+unknown", "USER_NOT_FOUND")],
)
async def test_a_payer_who_may_not_pay_any_more(
    airtm_shop: Marketplace, payer: Payer, world: World, tags: str, reason: str
) -> None:
    changed = AirtmPerson(payer.email.replace("@", f"{tags}@"))
    await airtm_shop.live.product.database.run(
        lambda tx: tx.execute(
            "UPDATE users SET airtm_email = $2, airtm_user_id = $3 WHERE id = $1", payer.id, changed.email, changed.id
        )
    )
    details = await airtm_shop.refused("POST", "/topups", payer.body(), status=422, code="AIRTM_USER_INVALID")
    assert details["failureReason"] == reason
    [failed] = await airtm_shop.done("GET", f"/topups?userId={payer.id}")
    assert (failed["status"], "airtmPayinId" in failed) == ("TOPUP_FAILED", False)
    assert failed["failureReason"]
    assert await airtm_shop.events(failed["id"]) == ["topup.created", "topup.failed"]
    assert await world.airtm_payins(failed["id"]) == []
    assert await airtm_shop.done("POST", f"/topups/{failed['id']}/refresh") == failed


async def test_an_address_that_now_belongs_to_another_account(airtm_shop: Marketplace, payer: Payer) -> None:
    await airtm_shop.live.product.database.run(
        lambda tx: tx.execute("UPDATE users SET airtm_email = $2 WHERE id = $1", payer.id, f"{unique('x')}@a.example")
    )
    details = await airtm_shop.refused("POST", "/topups", payer.body(), status=422, code="AIRTM_USER_INVALID")
    assert details["failureReason"] == "USER_NOT_FOUND"


async def test_a_key_of_one_user(airtm_shop: Marketplace, payer: Payer) -> None:
    other = await new_payer(airtm_shop)
    theirs = await begun(airtm_shop, other)
    own = await airtm_shop.with_key("read", "write", userId=payer.id)
    made = await own.done("POST", "/topups", {"amount": "3.00"}, status=201)
    assert made["userId"] == payer.id
    await own.refused("POST", "/topups", other.body(), status=403, code="INSUFFICIENT_SCOPE")
    await own.refused("GET", f"/topups?userId={other.id}", status=403, code="INSUFFICIENT_SCOPE")
    assert [one["id"] for one in await own.done("GET", "/topups")] == [made["id"]]
    one = f"/topups/{theirs['id']}"
    for method, path in (("GET", one), ("POST", f"{one}/refresh"), ("POST", f"{one}/cancel")):
        await own.refused(method, path, status=404, code="TOPUP_NOT_FOUND")
    assert (await own.done("POST", f"/topups/{made['id']}/cancel"))["status"] == "TOPUP_CANCELED"


async def test_another_marketplace_sees_nothing(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    topup = await begun(airtm_shop, payer)
    other = await Marketplace.found(airtm_shop.live, world, airtm_shop.http)
    one = f"/topups/{topup['id']}"
    for method, path in (("GET", one), ("POST", f"{one}/refresh"), ("POST", f"{one}/cancel")):
        await other.refused(method, path, status=404, code="TOPUP_NOT_FOUND")
    await other.refused("POST", "/topups", payer.body(), status=404, code="USER_NOT_FOUND")
    assert await other.done("GET", "/topups") == []
    assert (await airtm_shop.done("GET", one))["status"] == AWAITING


async def test_lists(airtm_shop: Marketplace, payer: Payer) -> None:
    made = [(await begun(airtm_shop, payer, f"{number}.00"))["id"] for number in (1, 2, 3)]
    await airtm_shop.done("POST", f"/topups/{made[0]}/cancel")
    heard = await airtm_shop.get(f"/topups?userId={payer.id}&limit=2")
    assert [one["id"] for one in heard.data] == [made[2], made[1]]
    assert (heard.json["hasMore"], heard.json["nextCursor"]) == (True, made[1])
    rest = await airtm_shop.get(f"/topups?userId={payer.id}&limit=2&cursor={made[1]}")
    assert ([one["id"] for one in rest.data], rest.json["hasMore"]) == ([made[0]], False)
    canceled = await airtm_shop.done("GET", f"/topups?userId={payer.id}&status=TOPUP_CANCELED")
    assert [one["id"] for one in canceled] == [made[0]]
    assert await airtm_shop.done("GET", "/topups?status=TOPUP_CANCELLED") == []
    for query in ("status=PAID", "limit=0", "cursor=topup_unknown"):
        await airtm_shop.refused("GET", f"/topups?{query}", status=400, code="VALIDATION_ERROR")
    assert {made[1], made[2]} <= {one["id"] for one in await airtm_shop.done("GET", "/topups?limit=100")}


async def test_without_airtm_there_are_no_top_ups(shop: Marketplace) -> None:
    [person] = await shop.people(None)
    body = {"userId": person.id, "amount": "1.00"}
    await shop.refused("POST", "/topups", body, status=422, code="PROVIDER_NOT_ENABLED")
    assert await shop.done("GET", "/topups") == []
    for path in (NOWHERE, f"{NOWHERE}/callback"):
        await shop.refused("GET", path, status=404, code="TOPUP_NOT_FOUND")


async def test_a_browser_with_a_made_up_id(airtm_shop: Marketplace) -> None:
    for path in (NOWHERE, "/topups/x", "/topups/%0d%0aset-cookie:a=b", "/topups/" + "9" * 300):
        assert await go_back(airtm_shop, f"{path}/callback?code=https://evil.example&status=confirmed") == (
            302,
            CANCEL,
        )


# -- canceling ------------------------------------------------------------------------------------


async def test_a_cancellation(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    topup = await begun(airtm_shop, payer)
    one = f"/topups/{topup['id']}"
    done = await airtm_shop.done("POST", f"{one}/cancel")
    assert done["status"] == "TOPUP_CANCELED"
    [payin] = await world.airtm_payins(topup["id"])
    assert payin["status"] == "CANCELED"
    told = await airtm_shop.live.value(
        "SELECT payload FROM events WHERE aggregate_id = $1 AND type = 'topup.canceled'", topup["id"]
    )
    assert told["canceledBy"] == "user"
    details = await airtm_shop.refused("POST", f"{one}/cancel", status=409, code="INVALID_STATE")
    assert (details["currentStatus"], details["allowedStatuses"]) == ("TOPUP_CANCELED", [AWAITING])


@pytest.mark.parametrize(("action", "state"), [("process", "TOPUP_PROCESSING"), ("confirm", "TOPUP_SUCCEEDED")])
async def test_a_cancellation_that_comes_too_late(
    airtm_shop: Marketplace, payer: Payer, world: World, action: str, state: str
) -> None:
    topup = await begun(airtm_shop, payer)
    await world.airtm_payin(topup["airtmPayinId"], action)
    details = await airtm_shop.refused("POST", f"/topups/{topup['id']}/cancel", status=409, code="INVALID_STATE")
    assert details["currentStatus"] == state
    assert (await airtm_shop.done("GET", f"/topups/{topup['id']}"))["status"] == state
    assert await airtm_shop.balance(payer) == ("25.00" if action == "confirm" else "0.00", "0.00")


async def test_a_cancellation_whose_answer_is_lost(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    topup = await begun(airtm_shop, payer)
    fault = await world.fault("airtm", "/payins/", "lose_response", method="DELETE", times=1)
    done = await airtm_shop.done("POST", f"/topups/{topup['id']}/cancel")
    assert (await fault.fired(), done["status"]) == (1, "TOPUP_CANCELED")


async def test_a_cancellation_of_which_nobody_knows(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    topup = await begun(airtm_shop, payer)
    one = f"/topups/{topup['id']}"
    await world.fault("airtm", "/payins/", "error_before", method="DELETE", times=1)
    await airtm_shop.refused("POST", f"{one}/cancel", status=504, code="PROVIDER_TIMEOUT")
    assert (await airtm_shop.done("GET", one))["status"] == AWAITING
    assert (await airtm_shop.done("POST", f"{one}/cancel"))["status"] == "TOPUP_CANCELED"


# -- Airtm on a bad day ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lose_response", "error_after", "error_before", "rate_limit"])
async def test_a_payin_is_asked_for_once_whatever_the_wire_does(
    airtm_shop: Marketplace, payer: Payer, world: World, kind: str
) -> None:
    fault = await world.fault("airtm", "/payins$", kind, method="POST", times=1)
    topup = await begun(airtm_shop, payer)
    assert await fault.fired() == 1
    [payin] = await world.airtm_payins(topup["id"])
    assert payin["id"] == topup["airtmPayinId"]


async def test_a_payin_that_cannot_be_read_back_is_asked_for_under_its_code(
    airtm_shop: Marketplace, payer: Payer, world: World
) -> None:
    lost = await world.fault("airtm", "/payins$", "lose_response", method="POST", times=1)
    unread = await world.fault("airtm", "/payins/by-code/", "error_before", times=1)
    topup = await begun(airtm_shop, payer)
    assert (await lost.fired(), await unread.fired()) == (1, 1)
    [payin] = await world.airtm_payins(topup["id"])
    assert payin["id"] == topup["airtmPayinId"]


async def test_while_airtm_cannot_tell_the_top_up_waits(
    airtm_shop: Marketplace, payer: Payer, world: World, airtm_environ: dict[str, str]
) -> None:
    await world.fault("airtm", "/payins", "error_before", status=503)
    async with running({**airtm_environ, "SAGA_INLINE_WAIT_SECONDS": "1"}, jobs=False) as hasty:
        waiting = await airtm_shop.on(hasty).done("POST", "/topups", payer.body(), status=201, key=unique("key"))
        assert waiting["status"] == "TOPUP_CREATED"
        assert not {"confirmationUri", "airtmPayinId", "failureReason"} & set(waiting)
        assert await airtm_shop.on(hasty).done("POST", f"/topups/{waiting['id']}/refresh") == waiting
        details = await airtm_shop.refused(
            "POST", f"/topups/{waiting['id']}/cancel", status=409, code="INVALID_STATE"
        )
        assert details["currentStatus"] == "TOPUP_CREATED"
    assert await world.airtm_payins(waiting["id"]) == []
    await world.mend()
    # The process that had begun it is gone; another one goes on.
    one = f"/topups/{waiting['id']}"
    later = await eventually(lambda: airtm_shop.done("GET", one), lambda found: found["status"] != "TOPUP_CREATED")
    assert later["status"] == AWAITING
    assert len(await world.airtm_payins(waiting["id"])) == 1
    assert await airtm_shop.events(waiting["id"]) == ["topup.created", "topup.confirmation_required"]


async def test_a_lasting_outage_before_anything_was_asked_ends_the_top_up(
    airtm_shop: Marketplace, payer: Payer, world: World
) -> None:
    await world.fault("airtm", "/users/", "error_before", status=503)
    key = unique("key")
    await airtm_shop.refused("POST", "/topups", payer.body(), status=503, code="PROVIDER_UNAVAILABLE", key=key)
    [failed] = await airtm_shop.done("GET", f"/topups?userId={payer.id}")
    assert failed["status"] == "TOPUP_FAILED"
    await world.mend()
    # The key is free: nothing had happened.
    again = await airtm_shop.done("POST", "/topups", payer.body(), status=201, key=key)
    assert (again["status"], again["id"] != failed["id"]) == (AWAITING, True)
    assert await world.airtm_payins(failed["id"]) == []


async def test_one_key_one_payin(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    key = unique("key")
    heard = await asyncio.gather(*(airtm_shop.post("/topups", payer.body(), key=key) for _ in range(6)))
    assert {one.status for one in heard} <= {201, 409}
    again = await airtm_shop.post("/topups", payer.body(), key=key)
    assert (again.status, again.headers["idempotency-replay"]) == (201, "true")
    assert {one.data["id"] for one in heard if one.status == 201} <= {again.data["id"]}
    assert [one["id"] for one in await airtm_shop.done("GET", f"/topups?userId={payer.id}")] == [again.data["id"]]
    assert len(await world.airtm_payins(again.data["id"])) == 1


async def test_a_browser_does_not_wait_for_a_sick_airtm(
    airtm_shop: Marketplace, payer: Payer, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    topup = await begun(airtm_shop, payer)
    await world.fault("airtm", "/payins/", "error_before", status=503, times=1)
    assert await go_back(airtm_shop, f"/topups/{topup['id']}/callback") == (302, CANCEL)
    monkeypatch.setattr("offerhub.topups.service.CALLBACK_SECONDS_MAX", 0.05)
    await world.fault("airtm", "/payins/", "delay", seconds=20, times=1)
    assert await go_back(airtm_shop, f"/topups/{topup['id']}/callback") == (302, CANCEL)


async def test_a_refresh_tells_that_airtm_is_out(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    topup = await begun(airtm_shop, payer)
    await world.fault("airtm", "/payins/", "error_before", status=503)
    path = f"/topups/{topup['id']}/refresh"
    await airtm_shop.refused("POST", path, status=503, code="PROVIDER_UNAVAILABLE")
    await world.mend()
    assert await airtm_shop.done("POST", path) == topup


# -- what nobody has told us ------------------------------------------------------------------------------------


async def _age(live: Running, *topups: dict[str, Any]) -> None:
    """Nobody has looked at these for an hour, and the first one longest."""
    for minutes, topup in enumerate(reversed(topups)):
        await live.product.database.run(
            lambda tx, topup=topup, minutes=minutes: tx.execute(
                "UPDATE topups SET checked_at = now() - make_interval(mins => $2) WHERE id = $1",
                topup["id"],
                60 + minutes,
            )
        )


async def test_the_job_catches_up(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    database, airtm = airtm_shop.live.product.database, airtm_shop.live.product.airtm
    assert airtm is not None
    paid, waiting, gone = [await begun(airtm_shop, payer) for _ in range(3)]
    await world.airtm_payin(paid["airtmPayinId"], "confirm")
    await world.airtm_payin(gone["airtmPayinId"], "cancel")
    await _age(airtm_shop.live, waiting, paid, gone)
    first = await refresh_unsettled(database, airtm, limit=2, stale_seconds=1800)
    assert (first.checked, first.changed, first.failed) == (2, 1, 0)
    second = await refresh_unsettled(database, airtm, limit=2, stale_seconds=1800)
    assert (second.checked, second.changed, second.failed) == (1, 1, 0), "the first two were looked at just now"
    assert (await refresh_unsettled(database, airtm, stale_seconds=1800)).checked == 0
    found = {one["id"]: one for one in await airtm_shop.done("GET", f"/topups?userId={payer.id}")}
    assert [found[one["id"]]["status"] for one in (paid, waiting, gone)] == [
        *("TOPUP_SUCCEEDED", AWAITING, "TOPUP_CANCELED"),
    ]
    assert found[waiting["id"]] == waiting
    assert await airtm_shop.units(payer.id) == {"available": 25 * UNIT}


async def test_a_run_of_reconciliation_catches_up(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    paid = await begun(airtm_shop, payer)
    await world.airtm_payin(paid["airtmPayinId"], "confirm")
    await _age(airtm_shop.live, paid)
    handlers = airtm_shop.live.product.reconciliation.handlers()
    # Other modules run jobs on this product too, whenever they come.
    earlier = await airtm_shop.live.value("SELECT coalesce(max(id), '') FROM reconciliation_runs")
    await handlers["reconciliation", "reconciliation:sync-topups"]({})
    await handlers["reconciliation", "reconciliation:sync-withdrawals"]({})
    assert await airtm_shop.units(payer.id) == {"available": 25 * UNIT}
    look = "SELECT job, status, changed, errors FROM reconciliation_runs WHERE id > $1 ORDER BY id"
    rows = await airtm_shop.live.rows(look, earlier)
    assert [tuple(row) for row in rows] == [
        ("sync-topups", "SUCCEEDED", 1, 0),
        ("sync-withdrawals", "SUCCEEDED", 0, 0),
    ]


async def test_the_job_gives_way(airtm_shop: Marketplace, payer: Payer, world: World) -> None:
    database, airtm = airtm_shop.live.product.database, airtm_shop.live.product.airtm
    assert airtm is not None
    odd, paid = [await begun(airtm_shop, payer) for _ in range(2)]
    await world.airtm_payin(paid["airtmPayinId"], "confirm")
    await _age(airtm_shop.live, odd, paid)
    # Airtm is out: the job ends at once.
    await world.fault("airtm", "/payins/", "error_before", status=503)
    report = await refresh_unsettled(database, airtm, stale_seconds=1800)
    assert (report.checked, report.changed, report.failed) == (1, 0, 1)
    await world.mend()
    # One payin cannot be read: the others are.
    await world.fault("airtm", f"/payins/{odd['airtmPayinId']}", "error_before", status=418)
    report = await refresh_unsettled(database, airtm, stale_seconds=1800)
    assert (report.checked, report.changed, report.failed) == (2, 1, 1)
    assert (await refresh_unsettled(database, airtm, stale_seconds=1800)).checked == 0
    assert await airtm_shop.units(payer.id) == {"available": 25 * UNIT}

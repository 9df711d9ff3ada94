"""Withdrawals through Airtm, against the sandbox: one payout for each; money leaves once or comes back once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from offerhub.withdrawals.jobs import Report, refresh_unsettled
from support.outside import World
from support.product import Marketplace, Person, unique

pytestmark = pytest.mark.usefixtures("mended")

UNIT = 10_000_000


async def payee(airtm_shop: Marketplace, tags: str = "", amount: str = "100.00") -> str:
    """A linked user with money."""
    made = await airtm_shop.done("POST", "/users", {"externalUserId": unique("payee")}, status=201)
    email = f"{unique('payee')}{tags}@example.com"
    await airtm_shop.done("POST", f"/users/{made['id']}/airtm/link", {"email": email})
    await airtm_shop.done("POST", f"/users/{made['id']}/balance/credit", {"amount": amount})
    return str(made["id"])


def asked(user_id: str, amount: str = "40.00", **more: Any) -> dict[str, Any]:
    body = {"userId": user_id, "amount": amount, "destinationType": "airtm_balance", "destinationRef": "mine"}
    return {**body, **more}


async def created(airtm_shop: Marketplace, user_id: str, **more: Any) -> dict[str, Any]:
    done: dict[str, Any] = await airtm_shop.done("POST", "/withdrawals", asked(user_id, **more), status=201)
    return done


async def act(airtm_shop: Marketplace, withdrawal: dict[str, Any], what: str) -> dict[str, Any]:
    found: dict[str, Any] = await airtm_shop.done("POST", f"/withdrawals/{withdrawal['id']}/{what}")
    return found


async def only_payout(world: World, withdrawal: dict[str, Any]) -> dict[str, Any]:
    """The one payout that this withdrawal has at Airtm."""
    payouts = await world.airtm_payouts(withdrawal["id"])
    assert len(payouts) == 1, payouts
    return payouts[0]


async def test_it_is_prepared_committed_and_paid(airtm_shop: Marketplace, world: World) -> None:
    user_id = await payee(airtm_shop, "+fee")
    heard = await airtm_shop.post("/withdrawals", asked(user_id, destinationType="airtm", description="May"))
    assert heard.status == 201
    made = heard.data
    assert {name: heard.json[name] for name in made} == made, "the fields are at the top as well"
    assert (made["status"], made["committed"]) == ("WITHDRAWAL_CREATED", False)
    assert (made["destinationType"], made["description"]) == ("airtm_balance", "May")
    assert (await only_payout(world, made))["id"] == made["airtmPayoutId"]
    assert (await only_payout(world, made))["status"] == "CREATED"
    assert await airtm_shop.units(user_id) == {"available": 60 * UNIT, "withdrawing": 40 * UNIT}

    committed = await act(airtm_shop, made, "commit")
    assert (committed["status"], committed["committed"]) == ("WITHDRAWAL_PENDING", True)
    assert (await only_payout(world, made))["status"] == "COMMITTED"
    assert await airtm_shop.units(user_id) == {"available": 60 * UNIT, "withdrawing": 40 * UNIT}
    assert await act(airtm_shop, made, "refresh") == committed

    await world.airtm_payout(made["airtmPayoutId"], "complete")
    done = await act(airtm_shop, made, "refresh")
    assert (done["status"], done["fee"]) == ("WITHDRAWAL_COMPLETED", "0.40")
    assert await airtm_shop.units(user_id) == {"available": 60 * UNIT}
    assert await airtm_shop.events(made["id"]) == [
        "withdrawal.created",
        "withdrawal.committed",
        "withdrawal.pending",
        "withdrawal.completed",
    ]
    assert await airtm_shop.postings(made["id"]) == ["withdrawal", "withdrawal_completed"]
    # It is over: nothing moves it any more.
    assert await act(airtm_shop, made, "refresh") == done
    path = f"/withdrawals/{made['id']}"
    details = await airtm_shop.refused("POST", f"{path}/commit", status=409, code="WITHDRAWAL_NOT_COMMITTABLE")
    assert details["currentStatus"] == "WITHDRAWAL_COMPLETED"
    await airtm_shop.refused("POST", f"{path}/cancel", status=409, code="INVALID_STATE")


async def test_it_is_committed_at_once_when_asked(airtm_shop: Marketplace, world: World) -> None:
    user_id = await payee(airtm_shop)
    made = await created(airtm_shop, user_id, destinationType="bank", destinationRef="MX-1", commit=True)
    assert (made["status"], made["committed"]) == ("WITHDRAWAL_PENDING", True)
    assert (await only_payout(world, made))["status"] == "COMMITTED"


@pytest.mark.parametrize("cancel", ["POST", "DELETE"])
async def test_it_is_cancelled_before_it_is_committed(airtm_shop: Marketplace, world: World, cancel: str) -> None:
    user_id = await payee(airtm_shop)
    made = await created(airtm_shop, user_id)
    path = f"/withdrawals/{made['id']}" + ("/cancel" if cancel == "POST" else "")
    done = await airtm_shop.done(cancel, path)
    assert (done["status"], done["committed"]) == ("WITHDRAWAL_CANCELED", False)
    assert (await only_payout(world, made))["status"] == "CANCELED"
    assert await airtm_shop.units(user_id) == {"available": 100 * UNIT}
    assert await airtm_shop.events(made["id"]) == ["withdrawal.created", "withdrawal.canceled"]
    await airtm_shop.refused(
        "POST", f"/withdrawals/{made['id']}/commit", status=409, code="WITHDRAWAL_NOT_COMMITTABLE"
    )


async def test_it_is_too_late_to_cancel(airtm_shop: Marketplace, world: World) -> None:
    made = await created(airtm_shop, await payee(airtm_shop))
    # Somebody commits it at Airtm's own dashboard.
    await airtm_shop.live.product.airtm.commit_payout(made["airtmPayoutId"])  # type: ignore[union-attr]
    await airtm_shop.refused("POST", f"/withdrawals/{made['id']}/cancel", status=409, code="INVALID_STATE")
    assert (await act(airtm_shop, made, "refresh"))["status"] == "WITHDRAWAL_PENDING"
    await world.airtm_payout(made["airtmPayoutId"], "complete")
    assert (await act(airtm_shop, made, "refresh"))["status"] == "WITHDRAWAL_COMPLETED"


@pytest.mark.parametrize(
    ("action", "status", "event"),
    [("fail", "WITHDRAWAL_FAILED", "withdrawal.failed"), ("cancel", "WITHDRAWAL_CANCELED", "withdrawal.canceled")],
)
async def test_what_airtm_does_not_pay_comes_back_once(
    airtm_shop: Marketplace, world: World, action: str, status: str, event: str
) -> None:
    user_id = await payee(airtm_shop)
    made = await created(airtm_shop, user_id, commit=True)
    await world.airtm_payout(made["airtmPayoutId"], "wait")
    waiting = await act(airtm_shop, made, "refresh")
    assert waiting["status"] == "WITHDRAWAL_PENDING_USER_ACTION"
    await world.airtm_payout(made["airtmPayoutId"], action)
    found = await asyncio.gather(*(act(airtm_shop, made, "refresh") for _ in range(20)))
    assert {one["status"] for one in found} == {status}
    assert found[0]["failureReason"]
    assert await airtm_shop.units(user_id) == {"available": 100 * UNIT}
    assert (await airtm_shop.events(made["id"])).count(event) == 1
    assert "withdrawal.pending_user_action" in await airtm_shop.events(made["id"])


async def test_a_status_that_nobody_knows_holds_the_money(airtm_shop: Marketplace, world: World) -> None:
    user_id = await payee(airtm_shop)
    made = await created(airtm_shop, user_id, commit=True)
    await world.airtm_payout(made["airtmPayoutId"], "odd")
    assert await act(airtm_shop, made, "refresh") == made
    assert await airtm_shop.units(user_id) == {"available": 60 * UNIT, "withdrawing": 40 * UNIT}


async def test_a_commitment_that_airtm_refuses_can_be_tried_again_or_cancelled(
    airtm_shop: Marketplace, world: World
) -> None:
    user_id = await payee(airtm_shop)
    key = unique("key")
    body = asked(user_id, "77.77", commit=True)
    made = await airtm_shop.done("POST", "/withdrawals", body, status=201, key=key)
    assert (made["status"], made["committed"]) == ("WITHDRAWAL_CREATED", False)
    assert "balance" in made["failureReason"]
    again = await airtm_shop.post("/withdrawals", body, key=key)
    assert (again.data["id"], again.headers["idempotency-replay"]) == (made["id"], "true")
    path = f"/withdrawals/{made['id']}"
    await airtm_shop.refused("POST", f"{path}/commit", status=502, code="PROVIDER_ERROR")
    assert await airtm_shop.units(user_id) == {"available": 22_2300000, "withdrawing": 77_7700000}
    done = await airtm_shop.done("POST", f"{path}/cancel")
    assert done["status"] == "WITHDRAWAL_CANCELED"
    assert await airtm_shop.units(user_id) == {"available": 100 * UNIT}
    assert (await only_payout(world, made))["status"] == "CANCELED"
    assert "WITHDRAWAL_COMMIT_REFUSED" in await airtm_shop.audit(made["id"])


@pytest.mark.parametrize("kind", ["lose_response", "error_before", "error_after", "rate_limit"])
@pytest.mark.parametrize("route", ["/payouts$", "/payouts/[^/]+/commit", "/payouts/by-code/"])
async def test_a_fault_on_the_way_makes_no_second_payout(
    airtm_shop: Marketplace, world: World, kind: str, route: str
) -> None:
    user_id = await payee(airtm_shop)
    fault = await world.fault("airtm", route, kind, times=2)
    made = await created(airtm_shop, user_id, commit=True)
    # What was done although its answer was lost is not done again.
    has_effect = kind in {"lose_response", "error_after"} and "by-code" not in route
    assert await fault.fired() == (1 if has_effect else 2)
    assert (made["status"], made["committed"]) == ("WITHDRAWAL_PENDING", True)
    assert (await only_payout(world, made))["status"] == "COMMITTED"
    assert (await airtm_shop.events(made["id"])).count("withdrawal.committed") == 1


async def test_twenty_commitments_are_one(airtm_shop: Marketplace, world: World) -> None:
    made = await created(airtm_shop, await payee(airtm_shop))
    heard = await asyncio.gather(*(airtm_shop.post(f"/withdrawals/{made['id']}/commit") for _ in range(20)))
    assert sorted(one.status for one in heard) == [200] + [409] * 19
    refusals = {one.json["error"]["code"] for one in heard if one.status == 409}
    assert refusals == {"WITHDRAWAL_NOT_COMMITTABLE"}
    assert (await only_payout(world, made))["status"] == "COMMITTED"
    assert (await airtm_shop.events(made["id"])).count("withdrawal.committed") == 1


async def test_committing_and_cancelling_race(airtm_shop: Marketplace, world: World) -> None:
    user_id = await payee(airtm_shop)
    made = await created(airtm_shop, user_id)
    path = f"/withdrawals/{made['id']}"
    await asyncio.gather(
        *(airtm_shop.post(f"{path}/{what}") for what in ("commit", "cancel", "commit", "cancel")),
    )
    state = (await act(airtm_shop, made, "refresh"))["status"]
    told = (await only_payout(world, made))["status"]
    assert (state, told) in {("WITHDRAWAL_PENDING", "COMMITTED"), ("WITHDRAWAL_CANCELED", "CANCELED")}
    held = 40 * UNIT if state == "WITHDRAWAL_PENDING" else 0
    assert (await airtm_shop.units(user_id)).get("withdrawing", 0) == held


async def test_an_address_that_leads_to_somebody_else_by_now_is_not_paid(airtm_shop: Marketplace) -> None:
    user_id = await payee(airtm_shop)
    other = f"{unique('other')}@example.com"
    await airtm_shop.live.product.database.run(
        lambda tx: tx.execute("UPDATE users SET airtm_email = $2 WHERE id = $1", user_id, other)
    )
    details = await airtm_shop.refused("POST", "/withdrawals", asked(user_id), status=422, code="AIRTM_USER_INVALID")
    assert details["failureReason"] == "USER_NOT_FOUND"
    assert await airtm_shop.units(user_id) == {"available": 100 * UNIT}
    listed = await airtm_shop.get(f"/withdrawals?userId={user_id}")
    assert [one["status"] for one in listed.json["data"]] == ["WITHDRAWAL_FAILED"]


async def test_checks_come_in_order(airtm_shop: Marketplace) -> None:
    made = await airtm_shop.done("POST", "/users", {"externalUserId": unique("payee")}, status=201)
    path = "/withdrawals"
    await airtm_shop.refused("POST", path, asked("usr_" + "0" * 32), status=404, code="USER_NOT_FOUND")
    await airtm_shop.refused("POST", path, asked(made["id"]), status=422, code="INSUFFICIENT_FUNDS")
    await airtm_shop.done("POST", f"/users/{made['id']}/balance/credit", {"amount": "50.00"})
    await airtm_shop.refused("POST", path, asked(made["id"]), status=422, code="AIRTM_USER_NOT_LINKED")
    assert await airtm_shop.units(made["id"]) == {"available": 50 * UNIT}


async def test_an_outage_before_anything_was_done_gives_the_money_back(airtm_shop: Marketplace, world: World) -> None:
    user_id, key = await payee(airtm_shop), unique("key")
    await world.fault("airtm", "/users/", "error_before")
    await airtm_shop.refused("POST", "/withdrawals", asked(user_id), status=503, code="PROVIDER_UNAVAILABLE", key=key)
    assert await airtm_shop.units(user_id) == {"available": 100 * UNIT}
    await world.mend()
    made = await airtm_shop.done("POST", "/withdrawals", asked(user_id), status=201, key=key)
    assert made["status"] == "WITHDRAWAL_CREATED"


async def test_the_job_asks_about_what_nobody_told(airtm_shop: Marketplace, world: World) -> None:
    product = airtm_shop.live.product
    assert product.airtm is not None
    before = {name: await created(airtm_shop, await payee(airtm_shop), commit=True) for name in ("paid", "waits")}
    await world.airtm_payout(before["paid"]["airtmPayoutId"], "complete")

    async def run() -> Report:
        assert product.airtm is not None
        return await refresh_unsettled(product.database, product.airtm, limit=1000, stale_seconds=3600)

    first = await run()
    assert first.checked >= 2
    assert first.changed >= 1
    assert first.failed == 0
    told = {name: await airtm_shop.done("GET", f"/withdrawals/{one['id']}") for name, one in before.items()}
    assert told["paid"]["status"] == "WITHDRAWAL_COMPLETED"
    assert told["waits"] == before["waits"], "asking changes nothing, not even updatedAt"
    assert await run() == Report(0, 0, 0), "what was asked about lately is left in peace"


async def test_the_job_gives_way_when_airtm_is_away(airtm_shop: Marketplace, world: World) -> None:
    product = airtm_shop.live.product
    assert product.airtm is not None
    for _ in range(2):
        await created(airtm_shop, await payee(airtm_shop), commit=True)
    await world.fault("airtm", "/payouts/", "error_before", status=503)
    assert await refresh_unsettled(product.database, product.airtm, limit=1000, stale_seconds=0) == Report(1, 0, 1)


async def test_other_marketplaces_and_other_users_see_nothing(
    airtm_shop: Marketplace, world: World, http: Any
) -> None:
    user_id = await payee(airtm_shop)
    made = await created(airtm_shop, user_id)
    stranger = await Marketplace.found(airtm_shop.live, world, http)
    own = await airtm_shop.with_key("*", userId=user_id)
    other = await airtm_shop.with_key("*", userId=await payee(airtm_shop))
    paths: list[tuple[str, str]] = [
        ("GET", ""),
        ("POST", "/commit"),
        ("POST", "/refresh"),
        ("POST", "/cancel"),
        ("DELETE", ""),
    ]
    hidden: Callable[[Marketplace, str, str], Any] = lambda shop, method, path: shop.refused(  # noqa: E731
        method, f"/withdrawals/{made['id']}{path}", status=404, code="WITHDRAWAL_NOT_FOUND"
    )
    for method, path in paths:
        await hidden(stranger, method, path)
        await hidden(other, method, path)
    assert (await own.done("POST", f"/withdrawals/{made['id']}/cancel"))["status"] == "WITHDRAWAL_CANCELED"


async def test_without_airtm_only_stellar_is_a_destination(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    await shop.refused("POST", "/withdrawals", asked(pair[0].id, "1.00"), status=422, code="PROVIDER_NOT_ENABLED")

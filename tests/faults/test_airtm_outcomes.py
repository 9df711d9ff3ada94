"""F9 (providers 8.6): less arrives; a payout comes back after it was paid, waits until it is cancelled, is lost.

What is certain is booked, to the unit. What is not stays where it is held, and a person is told.
"""

import json
import time
from decimal import Decimal
from typing import Any, Final

import pytest

from offerhub.reconciliation.jobs import airtm_jobs
from offerhub.reconciliation.model import Outcome
from offerhub.sandbox import svix
from support.outside import World, eventually
from support.payers import link
from support.product import MASTER_KEY, Marketplace, unique

pytestmark = pytest.mark.usefixtures("mended")

UNIT: Final = 10_000_000


async def user(shop: Marketplace, amount: str | None = None) -> str:
    """A linked user, with money if some is named."""
    made = await shop.done("POST", "/users", {"externalUserId": unique("user")}, status=201)
    await link(shop, made["id"])
    if amount is not None:
        await shop.done("POST", f"/users/{made['id']}/balance/credit", {"amount": amount})
    return str(made["id"])


async def withdrawal(shop: Marketplace, user_id: str, amount: str = "40.00") -> dict[str, Any]:
    """A payout that Airtm has been told to pay."""
    body = {"userId": user_id, "amount": amount, "destinationType": "airtm_balance", "destinationRef": "mine"}
    made: dict[str, Any] = await shop.done("POST", "/withdrawals", {**body, "commit": True}, status=201)
    return made


async def job(shop: Marketplace, name: str) -> Outcome:
    """Do what the clock does."""
    product = shop.live.product
    assert product.airtm is not None
    return await next(one for one in airtm_jobs(product.database, product.airtm) if one.type == name).work()


async def findings(shop: Marketplace, subject_id: str, status: str = "OPEN") -> list[dict[str, Any]]:
    """What an operator reads about something."""
    operator = shop.using(MASTER_KEY)
    heard = await operator.get(f"/admin/reconciliation/findings?subjectId={subject_id}&status={status}")
    return list(heard.json["data"])


async def refreshed(shop: Marketplace, kind: str, resource: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = await shop.done("POST", f"/{kind}/{resource['id']}/refresh")
    return found


async def test_f09_less_arrives_than_was_paid(airtm_shop: Marketplace, world: World) -> None:
    user_id = await user(airtm_shop)
    fault = await world.fault("airtm", "/payins$", "outcome", value="fee", times=1)
    made = await airtm_shop.done("POST", "/topups", {"userId": user_id, "amount": "25.10"}, status=201)
    assert await fault.fired() == 1
    await world.airtm_payin(made["airtmPayinId"], "confirm", "0.25")
    done = await refreshed(airtm_shop, "topups", made)
    assert (done["status"], done["amount"], done["netAmount"], done["fee"]) == (
        *("TOPUP_SUCCEEDED", "25.10"),
        *("24.85", "0.25"),
    )
    assert await airtm_shop.units(user_id) == {"available": 248_500_000}
    await airtm_shop.live.assert_conserved(world)


async def test_f09_a_paid_payout_comes_back(airtm_shop: Marketplace, world: World) -> None:
    """The withdrawal stays what it was; its reversal stands beside it, and the money is the user's again."""
    user_id = await user(airtm_shop, "100.00")
    made = await withdrawal(airtm_shop, user_id)
    await world.airtm_payout(made["airtmPayoutId"], "complete")
    paid = await refreshed(airtm_shop, "withdrawals", made)
    assert paid["status"] == "WITHDRAWAL_COMPLETED"
    assert "reversal" not in paid
    position = (await airtm_shop.using(MASTER_KEY).done("GET", "/admin/treasury"))["airtm"]["inBooks"]
    assert await job(airtm_shop, "sync-refunds") == Outcome()
    await world.airtm_payout(made["airtmPayoutId"], "refund")
    assert await job(airtm_shop, "sync-refunds") == Outcome(checked=1, changed=1)
    assert await job(airtm_shop, "sync-refunds") == Outcome()

    found = await airtm_shop.done("GET", f"/withdrawals/{made['id']}")
    reversal = found.pop("reversal")
    assert found == paid, "it was paid, and nobody says otherwise"
    assert (reversal["amount"], "gave the payout back" in reversal["reason"]) == ("40.00", True)
    assert await airtm_shop.units(user_id) == {"available": 100 * UNIT}
    assert await airtm_shop.postings(made["id"]) == ["withdrawal", "withdrawal_completed", "withdrawal_reversed"]
    assert (await airtm_shop.events(made["id"]))[-1] == "withdrawal.reversed"
    [told] = await airtm_shop.live.rows(
        "SELECT payload FROM events WHERE aggregate_id = $1 AND type = 'withdrawal.reversed'", made["id"]
    )
    assert told["payload"] == {
        "withdrawalId": made["id"],
        "userId": user_id,
        "amount": "40.00",
        "currency": "USD",
        "reason": reversal["reason"],
        "reversedAt": reversal["at"],
        "newAvailableBalance": "100.00",
        "airtmPayoutId": made["airtmPayoutId"],
    }
    assert "WITHDRAWAL_REVERSED" in await airtm_shop.audit(made["id"])
    after = (await airtm_shop.using(MASTER_KEY).done("GET", "/admin/treasury"))["airtm"]["inBooks"]
    assert Decimal(after) - Decimal(position) == 40
    listed = (await airtm_shop.get(f"/withdrawals?userId={user_id}")).json["data"]
    assert [one["reversal"] for one in listed] == [reversal]
    # It can be withdrawn again.
    assert (await withdrawal(airtm_shop, user_id, "100.00"))["status"] == "WITHDRAWAL_PENDING"
    await airtm_shop.live.assert_conserved(world)


async def test_f09_it_comes_back_before_anybody_saw_it_paid(airtm_shop: Marketplace, world: World) -> None:
    user_id = await user(airtm_shop, "100.00")
    fault = await world.fault("airtm", "/payouts$", "outcome", value="refunded", times=1)
    made = await withdrawal(airtm_shop, user_id)
    assert await fault.fired() == 1
    await world.airtm_payout(made["airtmPayoutId"], "complete")
    await world.airtm_payout(made["airtmPayoutId"], "refund")
    assert (await job(airtm_shop, "sync-refunds")).changed == 1
    found = await airtm_shop.done("GET", f"/withdrawals/{made['id']}")
    assert (found["status"], found["reversal"]["amount"]) == ("WITHDRAWAL_COMPLETED", "40.00")
    assert await airtm_shop.units(user_id) == {"available": 100 * UNIT}
    assert (await airtm_shop.events(made["id"]))[-2:] == ["withdrawal.completed", "withdrawal.reversed"]
    await airtm_shop.live.assert_conserved(world)


async def test_f09_news_of_what_has_ended_is_enough_of_a_hint(airtm_shop: Marketplace, world: World) -> None:
    """Airtm declares no news of a refund. Any that names the withdrawal makes us look; only what is read counts."""
    user_id = await user(airtm_shop, "100.00")
    made = await withdrawal(airtm_shop, user_id)
    await world.airtm_payout(made["airtmPayoutId"], "complete")
    await refreshed(airtm_shop, "withdrawals", made)
    await world.airtm_payout(made["airtmPayoutId"], "refund")
    body = json.dumps({"type": "payout.refunded", "data": {"code": made["id"], "amount": 1000}}).encode()
    signed = svix.headers([world.environ["AIRTM_WEBHOOK_SECRET"]], unique("msg"), int(time.time()), body)
    assert (await airtm_shop.using("").send("POST", "/webhooks/airtm", raw=body, headers=signed)).status == 200

    async def reversal() -> Any:
        return (await airtm_shop.done("GET", f"/withdrawals/{made['id']}")).get("reversal")

    found = await eventually(reversal, lambda one: one is not None)
    assert found["amount"] == "40.00"
    assert await airtm_shop.units(user_id) == {"available": 100 * UNIT}
    await airtm_shop.live.assert_conserved(world)


async def test_f09_a_payout_that_we_did_not_make_comes_back(airtm_shop: Marketplace, world: World) -> None:
    """Made at Airtm's own dashboard: nobody's balance moves, and an operator reads of it."""
    airtm = airtm_shop.live.product.airtm
    assert airtm is not None
    made: Any = await airtm.create_payout(
        code=unique("by-hand"),
        email="somebody@example.com",
        amount=40 * UNIT,  # type: ignore[arg-type]
        notes="x",
    )
    await airtm.commit_payout(made.value.id)
    await world.airtm_payout(made.value.id, "complete")
    await world.airtm_payout(made.value.id, "refund")
    assert await job(airtm_shop, "sync-refunds") == Outcome(checked=1, discrepancies=1)
    sql = "SELECT deposit_id FROM airtm_refunds WHERE payout_id = $1 AND status = 'UNEXPLAINED'"
    [found] = await findings(airtm_shop, await airtm_shop.live.value(sql, made.value.id))
    assert (found["kind"], found["amount"]) == ("REFUND_UNEXPLAINED", "40.00")
    assert found["evidence"]["airtmPayoutId"] == made.value.id
    await airtm_shop.live.assert_conserved(world)


@pytest.mark.parametrize("end", ["complete", "cancel"])
async def test_f09_a_payout_is_somewhere_that_nobody_knows(airtm_shop: Marketplace, world: World, end: str) -> None:
    user_id = await user(airtm_shop, "100.00")
    made = await withdrawal(airtm_shop, user_id)
    await world.airtm_payout(made["airtmPayoutId"], "odd")
    for _ in range(2):
        assert await refreshed(airtm_shop, "withdrawals", made) == made
    assert await airtm_shop.units(user_id) == {"available": 60 * UNIT, "withdrawing": 40 * UNIT}
    [found] = await findings(airtm_shop, made["id"])
    assert (found["kind"], found["timesSeen"]) == ("PAYOUT_MISMATCH", 2)
    assert "TELEPORTED" in found["evidence"]["fault"]
    assert (await airtm_shop.audit(made["id"])).count("DISCREPANCY_FOUND") == 1
    await airtm_shop.live.assert_conserved(world)
    await world.airtm_payout(made["airtmPayoutId"], end)
    done = await refreshed(airtm_shop, "withdrawals", made)
    assert done["status"] == {"complete": "WITHDRAWAL_COMPLETED", "cancel": "WITHDRAWAL_CANCELED"}[end]
    assert await findings(airtm_shop, made["id"]) == [], "a word that is known ends it"
    assert await airtm_shop.units(user_id) == {"available": (60 if end == "complete" else 100) * UNIT}
    await airtm_shop.live.assert_conserved(world)


async def test_f09_a_payin_is_somewhere_that_nobody_knows(airtm_shop: Marketplace, world: World) -> None:
    user_id = await user(airtm_shop)
    made = await airtm_shop.done("POST", "/topups", {"userId": user_id, "amount": "25.00"}, status=201)
    await world.airtm_payin(made["airtmPayinId"], "confirm")
    fault = await world.fault("airtm", "/payins/", "set_field", field="status", value="TELEPORTED", times=2)
    for _ in range(2):
        assert await refreshed(airtm_shop, "topups", made) == made
    assert await fault.fired() == 2
    assert await airtm_shop.units(user_id) == {}
    [found] = await findings(airtm_shop, made["id"])
    assert (found["kind"], found["timesSeen"]) == ("PAYIN_MISMATCH", 2)
    assert (await refreshed(airtm_shop, "topups", made))["status"] == "TOPUP_SUCCEEDED"
    assert await findings(airtm_shop, made["id"]) == []
    assert await airtm_shop.units(user_id) == {"available": 25 * UNIT}
    await airtm_shop.live.assert_conserved(world)


@pytest.mark.parametrize("how", ["pend", "wait"])
async def test_f09_a_recipient_who_never_acts_is_given_up_and_the_money_comes_back(
    airtm_shop: Marketplace, world: World, how: str
) -> None:
    """Airtm cancels by itself what waits for too long; the sandbox does so by its clock, which others share here."""
    user_id = await user(airtm_shop, "100.00")
    made = await withdrawal(airtm_shop, user_id)
    await world.airtm_payout(made["airtmPayoutId"], how)
    assert (await refreshed(airtm_shop, "withdrawals", made))["status"] == "WITHDRAWAL_PENDING_USER_ACTION"
    assert await airtm_shop.units(user_id) == {"available": 60 * UNIT, "withdrawing": 40 * UNIT}
    await world.airtm_payout(made["airtmPayoutId"], "cancel")
    done = await refreshed(airtm_shop, "withdrawals", made)
    assert done["status"] == "WITHDRAWAL_CANCELED"
    assert await airtm_shop.units(user_id) == {"available": 100 * UNIT}
    assert (await airtm_shop.events(made["id"])).count("withdrawal.canceled") == 1
    assert (await job(airtm_shop, "sync-refunds")).changed == 0, "nothing came back of what was never paid"
    await airtm_shop.live.assert_conserved(world)

"""Timers as policy: off until they are set, due by one clock, fired once, through the use cases of the API."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.policies.jobs import Report, apply_policies
from offerhub.policies.service import Firing, database_clock
from support.outside import World, eventually
from support.payers import link
from support.product import MASTER_KEY, Marketplace, Running

pytestmark = pytest.mark.usefixtures("mended")

DAY = 86_400
OFF = {
    "autoReleaseAfterDays": None,
    "autoCancelUnfundedAfterHours": None,
    "disputeDeadlineDays": None,
    "onDisputeDeadline": "ESCALATE",
    "topupExpiryHours": None,
}


@pytest.fixture
async def policies(live: Running, world: World, http: aiohttp.ClientSession) -> AsyncIterator[Marketplace]:
    """A marketplace of the test's own, whose policies are off again afterwards."""
    found = await Marketplace.found(live, world, http)
    yield found
    await found.done("PUT", "/policies", {})


def timers(live: Running, days: float) -> Firing:
    """What a worker fires with whose clock of policies is so many days ahead."""
    made = live.product.policies
    return Firing(made.orders, made.resolution, made.disputes, database_clock(days * DAY))


async def pass_days(live: Running, days: float) -> Report:
    """Let the job run as if so many days had passed."""
    return await apply_policies(live.product.database, timers(live, days), live.product.topups)


async def status(shop: Marketplace, order_id: str) -> str:
    return str((await shop.done("GET", f"/orders/{order_id}"))["status"])


async def firings(shop: Marketplace, subject_id: str) -> list[str]:
    """What policies did to something."""
    rows = await shop.live.rows(
        "SELECT policy, outcome FROM policy_firings WHERE subject_id = $1 ORDER BY fired_at", subject_id
    )
    return [row["policy"] for row in rows]


async def causes(shop: Marketplace, subject_id: str) -> list[dict[str, Any]]:
    """The audit entries that say which policy did it, and why."""
    found = (await shop.get(f"/audit/logs?resourceId={subject_id}&action=POLICY_FIRED")).json["data"]
    return [
        {"actor": one["actor"]["id"] if "actor" in one else one["actorId"], **one["payloadAfter"]} for one in found
    ]


async def test_policies_are_off_until_they_are_set_and_a_change_is_audited(policies: Marketplace) -> None:
    assert {**await policies.done("GET", "/policies")}.items() >= OFF.items()
    body = {
        "autoReleaseAfterDays": 14,
        "disputeDeadlineDays": 10,
        "onDisputeDeadline": "REFUND",
        "topupExpiryHours": 24,
    }
    made = await policies.done("PUT", "/policies", body)
    assert made.items() >= {**OFF, **body}.items()
    assert made["appliesFrom"]["autoCancelUnfundedAfterHours"] is None
    again = await policies.done("PUT", "/policies", {**body, "autoReleaseAfterDays": 7})
    assert again["appliesFrom"]["autoReleaseAfterDays"] > made["appliesFrom"]["autoReleaseAfterDays"]
    assert again["appliesFrom"]["topupExpiryHours"] == made["appliesFrom"]["topupExpiryHours"], "unchanged"
    entries = (await policies.get(f"/audit/logs?resourceId={policies.id}&action=POLICIES_CHANGED")).json["data"]
    assert entries[0]["payloadBefore"]["autoReleaseAfterDays"] == 14
    assert entries[0]["payloadAfter"]["autoReleaseAfterDays"] == 7
    for bad in (
        {"autoReleaseAfterDays": 0},
        {"autoReleaseAfterDays": 366},
        {"disputeDeadlineDays": 1.5},
        {"onDisputeDeadline": "SPLIT"},
    ):
        await policies.refused("PUT", "/policies", bad, status=400, code="VALIDATION_ERROR")
    assert (await policies.done("PUT", "/policies", {})).items() >= OFF.items()
    [person] = await policies.people(None)
    bound = await policies.with_key("support", userId=person.id)
    await bound.refused("PUT", "/policies", body, status=403, code="INSUFFICIENT_SCOPE")


async def test_an_order_is_released_after_its_days_once_however_many_workers_run(
    policies: Marketplace, live: Running
) -> None:
    buyer, seller = await policies.people("100", None)
    order_id = await policies.order(buyer, seller, "20.00", "IN_PROGRESS")
    await pass_days(live, 400)
    assert await status(policies, order_id) == "IN_PROGRESS", "off"
    await policies.done("PUT", "/policies", {"autoReleaseAfterDays": 7})
    await pass_days(live, 6.99)
    assert await status(policies, order_id) == "IN_PROGRESS", "not yet"
    done = await asyncio.gather(*(pass_days(live, 7.01) for _ in range(3)))
    assert sum(one.fired for one in done) == 1
    await eventually(lambda: status(policies, order_id), lambda found: found == "CLOSED")
    assert await firings(policies, order_id) == ["autoRelease"]
    [cause] = await causes(policies, order_id)
    assert (cause["policy"], cause["action"], cause["spanHours"]) == ("autoReleaseAfterDays", "RELEASE", 7 * 24)
    rows = await policies.live.rows(
        "SELECT payload FROM events WHERE aggregate_id = $1 AND type = 'order.release_requested'", order_id
    )
    assert [row["payload"]["requestedBy"] for row in rows] == ["policy:autoRelease"]
    assert "autoReleaseAfterDays: 7 days" in rows[0]["payload"]["reason"]
    assert await policies.units(seller.id) == {"available": 199_400_000}


async def test_what_was_there_before_has_the_whole_time_from_a_change(policies: Marketplace, live: Running) -> None:
    buyer, seller = await policies.people("100", None)
    order_id = await policies.order(buyer, seller, "20.00", "IN_PROGRESS")
    await policies.live.product.database.run(
        lambda tx: tx.execute(
            "UPDATE orders SET state_since = state_since - interval '30 days' WHERE id = $1", order_id
        )
    )
    await policies.done("PUT", "/policies", {"autoReleaseAfterDays": 7})
    await pass_days(live, 6.9)
    assert await status(policies, order_id) == "IN_PROGRESS"
    assert await firings(policies, order_id) == []


async def test_a_dispute_an_open_milestone_and_a_doubt_keep_an_order_from_being_released(
    policies: Marketplace, live: Running
) -> None:
    buyer, seller = await policies.people("100", None)
    milestones = [{"ref": "m1", "title": "One"}]
    disputed = await policies.order(buyer, seller, "10.00", "IN_PROGRESS")
    working = await policies.order(buyer, seller, "10.00", "IN_PROGRESS", milestones=milestones)
    doubtful = await policies.order(buyer, seller, "10.00", "IN_PROGRESS")
    await policies.done("PUT", "/policies", {"autoReleaseAfterDays": 7})
    dispute = {"openedBy": "BUYER", "reason": "OTHER"}
    await policies.done("POST", f"/orders/{disputed}/resolution/dispute", dispute, status=201)
    await policies.live.product.database.run(
        lambda tx: tx.execute(
            """
            INSERT INTO findings (id, marketplace_id, kind, subject_type, subject_id, evidence)
            SELECT 'fnd_' || substr(id, 5), marketplace_id, 'MONEY_MISSING', 'Escrow', id, '{}' FROM escrows
            WHERE order_id = $1
            """,
            doubtful,
        )
    )
    assert (await pass_days(live, 8)).fired == 0
    await policies.done("POST", f"/orders/{working}/milestones/m1/complete")
    assert (await pass_days(live, 6.9)).fired == 0
    assert (await pass_days(live, 7.1)).fired == 1, "counted from the milestone"
    await eventually(lambda: status(policies, working), lambda found: found == "CLOSED")
    assert [await status(policies, one) for one in (disputed, doubtful)] == ["DISPUTED", "IN_PROGRESS"]
    await policies.live.product.database.run(
        lambda tx: tx.execute(
            "UPDATE findings SET status = 'RESOLVED', resolved_at = now(), resolved_by = 'x', resolution = '{}'"
            " WHERE subject_id = (SELECT id FROM escrows WHERE order_id = $1)",
            doubtful,
        )
    )


async def test_a_dispute_that_races_with_the_policy_has_one_winner(policies: Marketplace, live: Running) -> None:
    buyer, seller = await policies.people("100", None)
    await policies.done("PUT", "/policies", {"autoReleaseAfterDays": 7})
    orders = [await policies.order(buyer, seller, "10.00", "IN_PROGRESS") for _ in range(3)]
    dispute = {"openedBy": "BUYER", "reason": "OTHER"}
    asked = [policies.send("POST", f"/orders/{one}/resolution/dispute", dispute) for one in orders]
    report, *heard = await asyncio.gather(pass_days(live, 7.1), *asked)
    won = [one.status == 201 for one in heard]
    for order_id, has_dispute in zip(orders, won, strict=True):
        wanted = "DISPUTED" if has_dispute else "CLOSED"
        await eventually(lambda order_id=order_id: status(policies, order_id), lambda found, w=wanted: found == w)
        assert ("autoRelease" in await firings(policies, order_id)) is not has_dispute
    assert report.fired == won.count(False)
    await policies.live.assert_books_hold()


async def test_what_nobody_funds_is_canceled_and_the_reservation_goes_back(
    policies: Marketplace, live: Running
) -> None:
    buyer, seller = await policies.people("100", None)
    stages = ("ORDER_CREATED", "FUNDS_RESERVED", "ESCROW_FUNDING", "IN_PROGRESS")
    orders = [await policies.order(buyer, seller, "10.00", stage) for stage in stages]
    await policies.done("PUT", "/policies", {"autoCancelUnfundedAfterHours": 48})
    assert (await pass_days(live, 1.99)).due == 0
    assert (await pass_days(live, 2.01)).fired == 3
    found = [await policies.done("GET", f"/orders/{one}") for one in orders]
    assert [one["finalStatus"] for one in found] == ["CANCELED", "CANCELED", "CANCELED", None]
    assert await policies.balance(buyer) == ("90.00", "0.00")
    assert (await pass_days(live, 3)).due == 0
    [cause] = await causes(policies, orders[1])
    assert (cause["policy"], cause["outcome"]) == ("autoCancelUnfundedAfterHours", "CANCELED")


async def test_a_dispute_past_its_deadline_is_escalated_once_or_decided_as_the_policy_says(
    policies: Marketplace, live: Running
) -> None:
    buyer, seller = await policies.people("100", None)
    _, escalated = await policies.disputed(buyer, seller, "10.00")
    await policies.done("PUT", "/policies", {"disputeDeadlineDays": 5})
    assert (await pass_days(live, 5.1)).fired == 1
    assert (await pass_days(live, 50)).due == 0
    [event] = await policies.live.rows(
        "SELECT payload FROM events WHERE aggregate_id = $1 AND type = 'dispute.escalated'", escalated
    )
    assert event["payload"]["action"] == "ESCALATE"
    before = (await policies.done("GET", f"/disputes/{escalated}"))["status"]
    assert before != "RESOLVED", "no money moves by itself"
    refunded, dispute_id = await policies.disputed(buyer, seller, "10.00")
    await policies.done("PUT", "/policies", {"disputeDeadlineDays": 5, "onDisputeDeadline": "REFUND"})
    await pass_days(live, 5.1)
    await eventually(lambda: status(policies, refunded), lambda found: found == "CLOSED")
    decided = await policies.done("GET", f"/disputes/{dispute_id}")
    assert (decided["status"], decided["resolutionDecision"]) == ("RESOLVED", "FULL_REFUND")
    assert "policy:disputeDeadline" in {one["actor"] for one in await causes(policies, dispute_id)}


async def test_a_top_up_that_nobody_pays_is_canceled_at_airtm(airtm_shop: Marketplace, airtm_live: Running) -> None:
    [person] = await airtm_shop.people(None)
    await link(airtm_shop, person.id)
    made = await airtm_shop.done("POST", "/topups", {"userId": person.id, "amount": "30.00"}, status=201)
    await airtm_shop.done("PUT", "/policies", {"topupExpiryHours": 24})
    assert (await pass_days(airtm_live, 0.9)).due == 0
    assert (await pass_days(airtm_live, 1.1)).fired == 1
    found = await airtm_shop.done("GET", f"/topups/{made['id']}")
    assert found["status"] == "TOPUP_CANCELED"
    assert await firings(airtm_shop, made["id"]) == ["topupExpiry"]
    assert (await pass_days(airtm_live, 2)).due == 0
    await airtm_shop.done("PUT", "/policies", {})


async def test_a_workers_own_clock_makes_nothing_due(policies: Marketplace, live: Running) -> None:
    """Two workers an hour apart in either direction: due is what the database's clock says, so neither is early."""
    buyer, seller = await policies.people("100", None)
    order_id = await policies.order(buyer, seller, "10.00", "FUNDS_RESERVED")
    await policies.done("PUT", "/policies", {"autoCancelUnfundedAfterHours": 1})
    made = live.product

    class Skewed:
        def __init__(self, hours: float) -> None:
            self.hours = hours

        def now(self) -> Any:
            return made.clock.now() + timedelta(hours=self.hours)

        def monotonic(self) -> float:
            return made.clock.monotonic()

        async def sleep(self, seconds: float) -> None:
            await made.clock.sleep(seconds)

    for hours in (1.0, -1.0, 24.0):
        skewed = Skewed(hours)
        orders = type(made.policies.orders)(made.engine, made.policies.orders._policy, skewed)
        worker = Firing(orders, made.policies.resolution, made.policies.disputes, database_clock())
        assert (await apply_policies(made.database, worker, made.topups)).due == 0
    assert await status(policies, order_id) == "FUNDS_RESERVED"
    assert (await pass_days(live, 0.05)).fired == 1


async def test_the_job_runs_by_hand(
    policies: Marketplace, live: Running, world: World, http: aiohttp.ClientSession
) -> None:
    operator = Marketplace(live, world, http, DEFAULT_MARKETPLACE_ID, MASTER_KEY)
    run = await operator.done("POST", "/admin/reconciliation/apply-policies/run", status=202)

    async def ended() -> Any:
        rows = await live.rows("SELECT status FROM reconciliation_runs WHERE id = $1", run["id"])
        return rows[0]["status"]

    assert await eventually(ended, lambda found: found not in ("QUEUED", "RUNNING")) == "SUCCEEDED"

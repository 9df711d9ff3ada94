"""A payin moves its top-up forward, credits it once, and never moves it back, whatever Airtm says and how often."""

import asyncio
from dataclasses import replace
from typing import Any, Final

import pytest

from offerhub.events.journal import Event, record
from offerhub.kernel.money import Units
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.operations.proof import prove
from offerhub.providers.airtm.model import Payin, PayinStatus
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.topups import settlement, store
from offerhub.topups.model import TopUp
from offerhub.topups.states import TOPUP

ONE: Final = 10_000_000
AMOUNT: Final = Units(25 * ONE)

CREATED, AWAITING, PROCESSING = "TOPUP_CREATED", "TOPUP_AWAITING_USER_CONFIRMATION", "TOPUP_PROCESSING"
SUCCEEDED, FAILED, CANCELED = "TOPUP_SUCCEEDED", "TOPUP_FAILED", "TOPUP_CANCELED"
STATUSES: Final[tuple[PayinStatus, ...]] = (
    *("CREATED", "PROCESSING", "CONFIRMED", "CANCELED", "FAILED"),
    "UNRECOGNISED",
)
REACHED_BY: Final[dict[str, PayinStatus]] = {
    AWAITING: "CREATED",
    PROCESSING: "PROCESSING",
    SUCCEEDED: "CONFIRMED",
    FAILED: "FAILED",
    CANCELED: "CANCELED",
}
ONWARD: Final[dict[str, dict[PayinStatus, str]]] = {
    CREATED: {status: state for state, status in REACHED_BY.items()},
    AWAITING: {"PROCESSING": PROCESSING, "CONFIRMED": SUCCEEDED, "CANCELED": CANCELED, "FAILED": FAILED},
    PROCESSING: {"CONFIRMED": SUCCEEDED, "CANCELED": CANCELED, "FAILED": FAILED},
}
"""From a state, by what Airtm says, to a state; everything else stays."""
EVENTS: Final = {
    AWAITING: "topup.confirmation_required",
    PROCESSING: "topup.processing",
    SUCCEEDED: "topup.succeeded",
    FAILED: "topup.failed",
    CANCELED: "topup.canceled",
}


class Office:
    """Top-ups of one user, and what is behind them."""

    def __init__(self, database: Database, actor: Actor, user_id: str) -> None:
        self.database = database
        self.actor = actor
        self.user_id = user_id

    async def new(self, state: str = CREATED) -> TopUp:
        """A top-up in a state."""

        async def insert(tx: Tx) -> TopUp:
            created = await store.insert(tx, self.actor.marketplace_id, self.user_id, "ana", AMOUNT, "USD", None)
            await record(tx, self.actor, events=[Event("topup.created", "TopUp", created.id, {}, self.user_id)])
            return created

        made = await self.database.run(insert)
        return made if state == CREATED else await self.apply(made, payin(made, REACHED_BY[state]))

    async def apply(self, topup: TopUp, found: Payin, **more: Any) -> TopUp:
        return await self.database.run(lambda tx: settlement.apply(tx, self.actor, topup, found, **more))

    async def available(self) -> int:
        kinds = [Kind.AVAILABLE]
        found = await self.database.run(
            lambda tx: ledger.balances(tx, self.actor.marketplace_id, self.user_id, kinds), read_only=True
        )
        return found[Kind.AVAILABLE]

    async def events(self, topup: TopUp) -> list[str]:
        rows = await self.database.run(
            lambda tx: tx.rows("SELECT type FROM events WHERE aggregate_id = $1 ORDER BY sequence", topup.id)
        )
        return [row["type"] for row in rows]

    async def payload(self, topup: TopUp, event: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.database.run(
            lambda tx: tx.value("SELECT payload FROM events WHERE aggregate_id = $1 AND type = $2", topup.id, event)
        )
        return found

    async def mismatches(self, topup: TopUp) -> list[dict[str, Any]]:
        rows = await self.database.run(
            lambda tx: tx.rows(
                "SELECT evidence FROM findings WHERE subject_id = $1 AND kind = 'PAYIN_MISMATCH' ORDER BY id",
                topup.id,
            )
        )
        return [row["evidence"] for row in rows]


@pytest.fixture
def office(database: Database, actor: Actor, user_id: str) -> Office:
    return Office(database, actor, user_id)


def payin(topup: TopUp, status: PayinStatus, fee: int = 0) -> Payin:
    """What Airtm says of the top-up's payin."""
    return Payin(
        id=f"payin-{topup.id}",
        code=topup.id,
        status=status,
        raw_status=status,
        amount=AMOUNT,
        net_amount=Units(AMOUNT - fee),
        fee=Units(fee),
        airtm_user_id=None if status == "CREATED" else "ana",
        failure_reason="no money" if status == "FAILED" else None,
        checkout_url=f"https://airtm.example/payin/{topup.id}",
    )


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("state", sorted(TOPUP.states))
async def test_every_state_meets_every_status(office: Office, state: str, status: PayinStatus) -> None:
    topup = await office.new(state)
    before, told = await office.available(), await office.events(topup)
    expected = ONWARD.get(state, {}).get(status, state)
    for _ in range(2):
        after = await office.apply(topup, payin(topup, status))
        assert after.status == expected
    moved = expected != state
    assert await office.available() - before == (AMOUNT if moved and expected == SUCCEEDED else 0)
    assert await office.events(topup) == [*told, *([EVENTS[expected]] if moved else [])]
    assert after.airtm_status in (status, payin(topup, REACHED_BY.get(state, "CREATED")).raw_status)
    assert after.updated_at == topup.updated_at or moved, "a look that finds nothing new is no change"
    late = state in (FAILED, CANCELED) and status == "CONFIRMED"
    undone = state == SUCCEEDED and status in ("FAILED", "CANCELED")
    assert len(await office.mismatches(topup)) == (1 if late or undone or status == "UNRECOGNISED" else 0)


async def test_all_of_it_is_proven(database: Database) -> None:
    assert (await prove(database)).findings == []


async def test_what_arrived_is_credited_not_what_was_paid(office: Office) -> None:
    topup = await office.new(AWAITING)
    done = await office.apply(topup, payin(topup, "CONFIRMED", fee=12_345_678))
    assert (done.amount, done.net_amount, done.fee) == (AMOUNT, AMOUNT - 12_345_678, 12_345_678)
    assert await office.available() == AMOUNT - 12_345_678
    told = await office.payload(topup, "topup.succeeded")
    assert told == {
        "topupId": topup.id,
        "userId": topup.user_id,
        "amount": "25.00",
        "netAmount": "23.76",
        "fee": "1.23",
        "currency": "USD",
        "airtmPayinId": f"payin-{topup.id}",
        "newAvailableBalance": "23.76",
        "newBalance": "23.76",
    }


async def test_twenty_looks_at_once_credit_once(office: Office) -> None:
    topup = await office.new(AWAITING)
    looks = [office.apply(topup, payin(topup, "CONFIRMED")) for _ in range(20)]
    assert {one.status for one in await asyncio.gather(*looks)} == {SUCCEEDED}
    assert await office.available() == AMOUNT
    assert (await office.events(topup)).count("topup.succeeded") == 1


async def test_news_in_any_order_end_the_same(office: Office) -> None:
    news: list[PayinStatus] = ["CREATED", "PROCESSING", "CONFIRMED"]
    for first in range(3):
        topup, before = await office.new(), await office.available()
        for status in (*news[first:], *news[:first]):
            last = await office.apply(topup, payin(topup, status))
        assert last.status == SUCCEEDED
        assert await office.available() - before == AMOUNT


@pytest.mark.parametrize(
    ("difference", "state"),
    [
        ({"code": "topup_of_somebody_else"}, AWAITING),
        ({"id": "another"}, AWAITING),
        ({"amount": Units(AMOUNT + ONE)}, AWAITING),
        ({"amount": Units(AMOUNT + ONE)}, CREATED),
        ({"airtm_user_id": "ben"}, AWAITING),
        ({"net_amount": Units(0), "fee": AMOUNT}, PROCESSING),
    ],
)
async def test_a_payin_that_does_not_match_is_not_credited(
    office: Office, difference: dict[str, Any], state: str
) -> None:
    topup, before = await office.new(state), await office.available()
    odd = replace(payin(topup, "CONFIRMED"), **difference)
    for _ in range(3):
        after = await office.apply(topup, odd)
        assert (after.status, after.net_amount) == (state, None)
        assert after.fault is not None
    assert await office.available() == before
    [found] = await office.mismatches(topup)
    assert (found["status"], found["fault"]) == (state, after.fault)
    # What does match still counts.
    if "id" not in difference and state != CREATED:
        assert (await office.apply(topup, payin(topup, "CONFIRMED"))).status == SUCCEEDED
        assert await office.available() - before == AMOUNT


async def test_a_payer_of_whom_airtm_says_nothing_is_believed(office: Office) -> None:
    topup = await office.new(AWAITING)
    done = await office.apply(topup, replace(payin(topup, "CONFIRMED"), airtm_user_id=None))
    assert done.status == SUCCEEDED


async def test_somebody_elses_failed_attempt_is_just_a_failure(office: Office) -> None:
    topup = await office.new(AWAITING)
    failed = await office.apply(topup, replace(payin(topup, "FAILED"), airtm_user_id="ben"))
    assert (failed.status, failed.failure_reason) == (FAILED, "no money")
    assert (await office.payload(topup, "topup.failed"))["reason"] == "no money"


async def test_a_payin_that_airtm_has_lost_moves_nothing(office: Office) -> None:
    topup = await office.new(PROCESSING)
    for _ in range(2):
        after = await office.database.run(lambda tx: settlement.missing(tx, topup))
        assert after.status == PROCESSING
    assert len(await office.mismatches(topup)) == 1


@pytest.mark.parametrize("canceled_by", ["user", "system"])
async def test_whose_wish_a_cancellation_was(office: Office, canceled_by: str) -> None:
    topup = await office.new(AWAITING)
    await office.apply(topup, payin(topup, "CANCELED"), canceled_by=canceled_by)
    assert (await office.payload(topup, "topup.canceled"))["canceledBy"] == canceled_by


async def test_what_the_user_needs_is_told_when_there_is_something_to_confirm(office: Office) -> None:
    topup = await office.new(AWAITING)
    assert topup.confirmation_uri == f"https://airtm.example/payin/{topup.id}"
    assert topup.expires_at is not None
    assert (topup.expires_at - topup.created_at).days == 15
    told = await office.payload(topup, "topup.confirmation_required")
    assert (told["topupId"], told["confirmationUri"]) == (topup.id, topup.confirmation_uri)

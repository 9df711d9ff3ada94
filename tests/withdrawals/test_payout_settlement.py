"""Every status of a withdrawal against everything that Airtm may say of its payout."""

from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import Units
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Entry, Leg
from offerhub.providers.airtm.model import Payout, PayoutStatus
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database, Tx
from offerhub.withdrawals import settlement, store
from offerhub.withdrawals.model import Withdrawal

AMOUNT = Units(40_0000000)
ACTOR = system(DEFAULT_MARKETPLACE_ID, "test")
PAYOUT_ID = "payout-1"

ENDS = {"WITHDRAWAL_COMPLETED", "WITHDRAWAL_FAILED", "WITHDRAWAL_CANCELED"}
STATES = ("WITHDRAWAL_CREATED", "WITHDRAWAL_COMMITTED", "WITHDRAWAL_PENDING", "WITHDRAWAL_PENDING_USER_ACTION")
MEANS = {
    "PROCESSING": "WITHDRAWAL_PENDING",
    "WAITING_FOR_USER": "WITHDRAWAL_PENDING_USER_ACTION",
    "COMPLETED": "WITHDRAWAL_COMPLETED",
    "CANCELED": "WITHDRAWAL_CANCELED",
    "FAILED": "WITHDRAWAL_FAILED",
}
MONEY = {
    "WITHDRAWAL_COMPLETED": (60_0000000, 0),
    "WITHDRAWAL_FAILED": (100_0000000, 0),
    "WITHDRAWAL_CANCELED": (100_0000000, 0),
}


class _Undo(Exception):
    """Ends a test's transaction."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url)
    yield opened
    await opened.close()


def payout(status: PayoutStatus, **changes: Any) -> Payout:
    facts: dict[str, Any] = {
        "id": PAYOUT_ID,
        "code": None,
        "status": status,
        "raw_status": status,
        "amount": AMOUNT,
        "net_amount": Units(AMOUNT - 4000000),
        "fee": Units(4000000),
        "airtm_user_id": None,
        "reason_code": None,
        "reason": None,
    }
    return Payout(**(facts | changes))


async def withdrawal_in(tx: Tx, status: str, payee: str = "payee", payout_id: str = PAYOUT_ID) -> Withdrawal:
    """A withdrawal of 40.00 of the 100.00 that its user had."""
    user_id = new_id("usr")
    await tx.execute(
        "INSERT INTO users (id, marketplace_id, external_user_id, type) VALUES ($1, $2, $3, 'BOTH')",
        *(user_id, DEFAULT_MARKETPLACE_ID, payee),
    )
    legs = [Leg(user_id, Kind.AVAILABLE, 100_0000000), Leg(DEFAULT_MARKETPLACE_ID, Kind.WORLD_MANUAL, -100_0000000)]
    await ledger.post(tx, ACTOR, Entry(f"credit:{payee}", "credit", "credit", legs))
    made = await store.insert(
        tx,
        DEFAULT_MARKETPLACE_ID,
        user_id,
        AMOUNT,
        "USD",
        status="WITHDRAWAL_CREATED",
        destination_type="bank",
        destination="mine",
        memo=None,
        description=None,
    )
    await store.set_payout(tx, made.id, payout_id)
    committed = status != "WITHDRAWAL_CREATED"
    await tx.execute("UPDATE withdrawals SET status = $2, committed = $3 WHERE id = $1", made.id, status, committed)
    legs = [Leg(user_id, Kind.AVAILABLE, -AMOUNT), Leg(user_id, Kind.WITHDRAWING, AMOUNT)]
    await ledger.post(tx, ACTOR, Entry(f"withdrawal:{made.id}:create", "withdrawal", made.id, legs))
    return await store.lock(tx, made.id)


async def money(tx: Tx, withdrawal: Withdrawal) -> tuple[int, int]:
    kinds = [Kind.AVAILABLE, Kind.WITHDRAWING]
    found = await ledger.balances(tx, DEFAULT_MARKETPLACE_ID, withdrawal.user_id, kinds)
    return found[Kind.AVAILABLE], found[Kind.WITHDRAWING]


async def undone(database: Database, test: Any) -> None:
    async def run(tx: Tx) -> None:
        await test(tx)
        raise _Undo

    with pytest.raises(_Undo):
        await database.run(run)


@pytest.mark.parametrize("told", get_args(PayoutStatus))
@pytest.mark.parametrize("status", STATES)
async def test_what_airtm_says_moves_it_forward_only(database: Database, status: str, told: PayoutStatus) -> None:
    async def check(tx: Tx) -> None:
        before = await withdrawal_in(tx, status)
        after = await settlement.apply(tx, ACTOR, before.id, payout(told))
        expected = MEANS.get(told, status)
        assert after.status == expected
        assert await money(tx, after) == MONEY.get(expected, (60_0000000, 40_0000000))
        goes_on = expected not in {status, "WITHDRAWAL_FAILED", "WITHDRAWAL_CANCELED"}
        assert after.committed == (before.committed or goes_on)
        # Said again, it changes nothing.
        assert await settlement.apply(tx, ACTOR, before.id, payout(told)) == after
        if expected in ENDS:
            for later in get_args(PayoutStatus):
                assert await settlement.apply(tx, ACTOR, before.id, payout(later)) == after
            assert await money(tx, after) == MONEY[expected]

    await undone(database, check)


@pytest.mark.parametrize("change", [{"amount": Units(AMOUNT + 1)}, {"id": "payout-2"}])
async def test_a_payout_that_is_not_ours_changes_nothing(database: Database, change: dict[str, Any]) -> None:
    async def check(tx: Tx) -> None:
        before = await withdrawal_in(tx, "WITHDRAWAL_PENDING")
        assert await settlement.apply(tx, ACTOR, before.id, payout("COMPLETED", **change)) == before
        assert await money(tx, before) == (60_0000000, 40_0000000)

    await undone(database, check)

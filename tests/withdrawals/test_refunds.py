"""What is concluded from a refund, and how the list of deposits is read, whichever way Airtm sorts it."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from offerhub.errors import ProviderError, ProviderUnavailable
from offerhub.kernel.money import Units
from offerhub.operations.proof import prove
from offerhub.providers.airtm.client import Airtm
from offerhub.providers.airtm.model import Deposits, Payout, Refund
from offerhub.runtime.database import Database
from offerhub.withdrawals import settlement, store
from offerhub.withdrawals.refunds import Report, follow
from withdrawals.test_payout_settlement import ACTOR, AMOUNT, money, payout, withdrawal_in

pytestmark = pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])

_numbers = itertools.count(1)


@dataclass
class Account:
    """Our account at Airtm: a list of deposits, and the payouts as they are shown."""

    newest_first: bool
    came: list[Refund] = field(default_factory=list)
    payouts: dict[str, Payout] = field(default_factory=dict)
    pages: int = 0
    breaks_at: int | None = None
    forgets_cursors: bool = False

    def give_back(self, payout_id: str | None, amount: int = AMOUNT) -> str:
        self.came.append(Refund(f"deposit-{next(_numbers)}", payout_id, Units(amount)))
        return self.came[-1].id

    def fund(self, count: int = 1) -> None:
        for _ in range(count):
            self.came.append(Refund(f"funding-{next(_numbers)}", None, Units(1)))

    async def deposits(self, *, after: str | None = None, per_page: int) -> Deposits:
        self.pages += 1
        if self.pages == self.breaks_at:
            raise ProviderUnavailable
        if self.forgets_cursors and after is not None:
            self.forgets_cursors = False
            raise ProviderError("Airtm found the call not valid.", originalStatus=400)
        rows = list(reversed(self.came)) if self.newest_first else self.came
        begin = 0 if after is None else next(i for i, row in enumerate(rows) if row.id == after) + 1
        page = rows[begin : begin + per_page]
        refunds = tuple(row for row in page if row.id.startswith("deposit"))
        return Deposits(tuple(row.id for row in page), refunds, page[-1].id if page else None)

    async def payout(self, payout_id: str) -> Payout | None:
        return self.payouts.get(payout_id)


@dataclass
class Stage:
    """A database, and an account to read."""

    database: Database
    account: Account

    async def look(self) -> Report:
        return await follow(self.database, cast("Airtm", self.account), per_page=10)

    async def paid(self, status: str = "WITHDRAWAL_COMPLETED") -> tuple[str, str]:
        """A withdrawal of 40.00 of 100.00, and the id of its payout."""
        number = next(_numbers)
        payout_id = f"payout-of-{number}"
        starts = "WITHDRAWAL_PENDING"
        made = await self.database.run(lambda tx: withdrawal_in(tx, starts, f"payee-{number}", payout_id))
        if status != starts:
            ends: Any = {"WITHDRAWAL_COMPLETED": "COMPLETED", "WITHDRAWAL_FAILED": "FAILED"}[status]
            told = payout(ends, id=payout_id)
            await self.database.run(lambda tx: settlement.apply(tx, ACTOR, made.id, told))
        return made.id, payout_id

    async def holds(self, withdrawal_id: str) -> tuple[str, tuple[int, int], int | None]:
        """(status, (available, withdrawing), what came back) of a withdrawal."""
        found = await self.database.run(lambda tx: store.find(tx, withdrawal_id), read_only=True)
        assert found is not None
        held = await self.database.run(lambda tx: money(tx, found), read_only=True)
        return found.status, held, None if found.reversal is None else found.reversal.amount

    async def findings(self) -> list[tuple[str, str]]:
        rows = await self.database.run(
            lambda tx: tx.rows("SELECT subject_id, evidence ->> 'reason' AS reason FROM findings ORDER BY id"),
            read_only=True,
        )
        return [(row["subject_id"], row["reason"]) for row in rows]


@pytest.fixture
async def stage(fresh_database_url: str, newest_first: bool) -> AsyncIterator[Stage]:
    database = await Database.connect(fresh_database_url, pool_size=5)
    yield Stage(database, Account(newest_first))
    proof = await prove(database)
    assert proof.holds, proof.findings
    await database.close()


async def test_everything_that_comes_is_found_once(stage: Stage) -> None:
    account, made = stage.account, [await stage.paid() for _ in range(4)]
    assert await stage.look() == Report(0, 0, 0, 0)
    account.fund(25)
    account.give_back(made[0][1])
    account.fund(14)
    assert await stage.look() == Report(1, 1, 0, 0)
    # One more than a page, exactly a page, and nothing.
    account.give_back(made[1][1])
    account.fund(10)
    assert (await stage.look()).reversed == 1
    account.fund(9)
    account.give_back(made[2][1], AMOUNT - 1)
    assert (await stage.look()).reversed == 1
    account.pages = 0
    assert await stage.look() == Report(0, 0, 0, 0)
    assert account.pages <= 2, "what is known is not read again"
    assert [await stage.holds(one) for one, _ in made] == [
        ("WITHDRAWAL_COMPLETED", (1_000_000_000, 0), AMOUNT),
        ("WITHDRAWAL_COMPLETED", (1_000_000_000, 0), AMOUNT),
        ("WITHDRAWAL_COMPLETED", (999_999_999, 0), AMOUNT - 1),
        ("WITHDRAWAL_COMPLETED", (600_000_000, 0), None),
    ]
    assert await stage.findings() == []


async def test_a_look_that_breaks_anywhere_misses_nothing(stage: Stage) -> None:
    account, made = stage.account, [await stage.paid() for _ in range(3)]
    for _, payout_id in made:
        account.fund(12)
        account.give_back(payout_id)
    for page in range(1, 8):
        account.pages, account.breaks_at = 0, page
        try:
            await stage.look()
        except ProviderUnavailable:
            continue
        break
    assert [(await stage.holds(one))[2] for one, _ in made] == [AMOUNT] * 3
    account.breaks_at, account.forgets_cursors = None, True
    account.fund(3)
    await stage.look()
    assert await stage.look() == Report(0, 0, 0, 0)


async def test_ten_looks_at_once_credit_once(stage: Stage) -> None:
    made, payout_id = await stage.paid()
    stage.account.give_back(payout_id)
    reports = await asyncio.gather(*(stage.look() for _ in range(10)))
    assert sum(report.reversed for report in reports) == 1
    assert await stage.holds(made) == ("WITHDRAWAL_COMPLETED", (1_000_000_000, 0), AMOUNT)


async def test_a_refund_of_what_has_not_ended_waits_for_the_payout(stage: Stage) -> None:
    """Its payout decides: paid and given back, or never paid. Until then nothing moves."""
    account = stage.account
    for status, expected in (("COMPLETED", AMOUNT), ("FAILED", None)):
        made, payout_id = await stage.paid("WITHDRAWAL_PENDING")
        account.give_back(payout_id)
        account.payouts[payout_id] = payout("PROCESSING", id=payout_id)
        assert (await stage.look()).reversed == 0
        assert await stage.holds(made) == ("WITHDRAWAL_PENDING", (600_000_000, 400_000_000), None)
        account.payouts[payout_id] = payout(cast("Any", status), id=payout_id)
        await stage.look()
        assert await stage.holds(made) == (f"WITHDRAWAL_{status}", (1_000_000_000, 0), expected)
    assert await stage.findings() == []


async def test_what_cannot_be_explained_is_left_to_a_person(stage: Stage) -> None:
    account = stage.account
    (paid, payout_id), (_, failed_id), (_, other_id) = (
        await stage.paid(),
        await stage.paid("WITHDRAWAL_FAILED"),
        await stage.paid(),
    )
    account.give_back(payout_id)
    account.give_back(failed_id)
    await stage.look()
    assert await stage.findings() == [], "the failed one was given back when it failed"
    expected = [
        (account.give_back("somebody-elses"), "it gives back no payout of ours"),
        (account.give_back(None), "it gives back no payout of ours"),
        (account.give_back(payout_id), "the payout was given back before"),
        (account.give_back(other_id, AMOUNT + 1), "it is more than was paid"),
        (account.give_back(failed_id, AMOUNT - 1), "it is not what the user was given back"),
    ]
    assert await stage.look() == Report(5, 0, 5, 0)
    assert sorted(await stage.findings()) == sorted(expected)
    assert await stage.look() == Report(0, 0, 0, 0)
    assert (await stage.holds(paid))[1:] == ((1_000_000_000, 0), AMOUNT)

"""The books beside the wallets: what differs twice is a finding until it agrees again or a person decides."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import pytest

from offerhub.reconciliation import jobs
from offerhub.wallets import totals
from offerhub.wallets.booking import ASIDE, credit_name
from offerhub.wallets.totals import WALLET
from support.outside import World, eventually
from support.product import Marketplace, Person, Running, running
from support.totals import Auditor

UNIT: Final = 10_000_000
MILESTONE: Final = [{"ref": "m1", "title": "Logo"}]

pytestmark = pytest.mark.usefixtures("mended")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two questions."""
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0)


@pytest.fixture(scope="module")
async def blind(office_environ: dict[str, str]) -> AsyncIterator[Running]:
    """A product that books deposits only when it is told to; its cursor says that it has booked everything."""
    async with running({**office_environ, "DISABLE_BLOCKCHAIN_MONITOR": "true"}) as found:
        await found.system_is_ready()
        await found.product.deposits.begin()
        database = found.product.database
        await database.run(lambda tx: tx.execute("UPDATE cursors SET ledger = 1000000000"))
        yield found
        await found.assert_books_hold()


@pytest.fixture(scope="module")
async def shop(blind: Running, world: World, http: aiohttp.ClientSession) -> Marketplace:
    return await Marketplace.found(blind, world, http)


@pytest.fixture
def auditor(shop: Marketplace) -> Auditor:
    return Auditor(shop)


async def people(shop: Marketplace, *deposits: str) -> list[Person]:
    """Users with this much on the chain, booked."""
    found = await shop.people(*(None for _ in deposits))
    for person, amount in zip(found, deposits, strict=True):
        await shop.world.mint(person.address, amount)
    await book(shop)
    return found


async def book(shop: Marketplace) -> None:
    """Book what has arrived."""
    await shop.live.product.reconciliation._jobs["check-missed-deposits"].work()


async def test_missing_money_is_a_finding_at_the_second_look(shop: Marketplace, auditor: Auditor) -> None:
    alice, bob = await people(shop, "100", "20")
    assert (await auditor.look()).discrepancies == 0
    assert await auditor.verdict(WALLET, alice.id) == "AGREES"
    await auditor.steal(alice.address, 30 * UNIT)
    before = await shop.counts()
    first = await auditor.ask_for_a_look()
    assert (first["status"], first["discrepancies"], first["errors"]) == ("SUCCEEDED", 0, 0)
    assert first["checked"] >= 2
    assert await auditor.about(WALLET, alice.id) == [], "one look may be wrong"
    assert (await auditor.look()).discrepancies == 1
    [found] = await auditor.about(WALLET, alice.id)
    assert (found["status"], found["amountUnits"], found["marketplaceId"]) == ("OPEN", -30 * UNIT, shop.id)
    assert (found["subjectType"], found["timesSeen"]) == ("User", 1)
    evidence = found["evidence"]
    assert (evidence["inBooks"], evidence["there"], evidence["difference"]) == (
        *("100.0000000", "70.0000000"),
        "-30.0000000",
    )
    assert evidence["addresses"] == [alice.address]
    assert evidence["lookBefore"]["there"] == "70.0000000"
    assert evidence["lookBefore"]["lookedAt"] < evidence["lookedAt"]
    assert "stop changes" in found["nextAction"]
    assert await auditor.about(WALLET, bob.id) == []
    after = await shop.counts()
    assert {name: after[name] for name in before if "audit" not in name} == {
        name: before[name] for name in before if "audit" not in name
    }, "a look writes no money and no state"

    await auditor.settle(found, "The thief is known; the insurance pays.")
    assert [(await auditor.look()).discrepancies for _ in range(2)] == [0, 0], "a person has decided about it"
    await auditor.steal(alice.address, 5 * UNIT)
    assert [(await auditor.look()).discrepancies for _ in range(2)] == [0, 1]
    again, _ = await auditor.about(WALLET, alice.id)
    assert (again["amountUnits"], again["evidence"]["knownDifference"]) == (-35 * UNIT, "-30.0000000")
    await auditor.settle(again, "The same thief.")


async def test_it_ends_by_itself_once_the_amounts_agree(shop: Marketplace, auditor: Auditor) -> None:
    [carol] = await people(shop, "10")
    await shop.world.mint(carol.address, "2.5")
    assert [(await auditor.look()).discrepancies for _ in range(3)] == [0, 1, 0]
    [found] = await auditor.about(WALLET, carol.id)
    assert (found["amountUnits"], found["timesSeen"]) == (25_000_000, 2)
    await book(shop)
    await auditor.look()
    [ended] = await auditor.about(WALLET, carol.id)
    assert (ended["status"], ended["resolvedBy"]) == ("RESOLVED", "system:reconciliation")
    assert (ended["resolution"]["inBooks"], ended["resolution"]["there"]) == ("12.5000000", "12.5000000")


async def test_a_difference_that_is_gone_at_the_second_look_was_none(shop: Marketplace, auditor: Auditor) -> None:
    [dave] = await people(shop, "10")
    await shop.world.mint(dave.address, "1")
    await auditor.look()
    assert await auditor.verdict(WALLET, dave.id) == "DIFFERS"
    await book(shop)
    await auditor.look()
    await auditor.steal(dave.address, UNIT)
    await auditor.look()
    assert await auditor.about(WALLET, dave.id) == []
    await auditor.look()
    [found] = await auditor.about(WALLET, dave.id)
    await auditor.settle(found, "Seen.")


async def test_what_is_no_wallets_money_raises_nothing(shop: Marketplace, auditor: Auditor) -> None:
    erin, frank = await people(shop, "50", "10")
    await shop.credit(erin, "7.00")
    await shop.done("POST", f"/users/{erin.id}/balance/debit", {"amount": "3.00"})
    hold = {"amount": "20.00", "reference": "held"}
    await shop.done("POST", f"/users/{erin.id}/balance/reserve", hold)
    release = {"amount": "12.00", "reference": "held", "recipientId": frank.id}
    await shop.done("POST", f"/users/{erin.id}/balance/release", release)
    await shop.done("POST", f"/users/{erin.id}/balance/deduct-reserved", {"amount": "1.00", "reference": "held"})
    await shop.world.mint(erin.address, "4")
    database, horizon = shop.live.product.database, shop.live.product.horizon
    aside = credit_name((await horizon.account_transfers(erin.address)).transfers[0])
    sql = "INSERT INTO quarantined_records (source, record_id, record, reason) VALUES ($1, $2, $3, 'odd')"
    record = {"to": erin.address, "amount": str(4 * UNIT)}
    await database.run(lambda tx: tx.execute(sql, ASIDE, aside, record))
    assert [(await auditor.look()).discrepancies for _ in range(2)] == [0, 0]
    assert await auditor.verdict(WALLET, erin.id) == await auditor.verdict(WALLET, frank.id) == "AGREES"


async def test_money_in_an_order_and_after_it_is_where_the_books_say(shop: Marketplace, auditor: Auditor) -> None:
    buyer, seller = await people(shop, "90", "1")
    order_id = await shop.order(buyer, seller, "40.00", "IN_PROGRESS", milestones=MILESTONE)
    await auditor.look()
    assert await auditor.verdict(WALLET, buyer.id) == "AGREES"
    await shop.done("POST", f"/orders/{order_id}/milestones/m1/complete")
    await shop.done("POST", f"/orders/{order_id}/resolution/release")
    assert [(await auditor.look()).discrepancies for _ in range(2)] == [0, 0]
    assert await auditor.verdict(WALLET, seller.id) == "AGREES"


async def test_nothing_is_judged_while_a_saga_is_at_work(shop: Marketplace, auditor: Auditor, world: World) -> None:
    [gina] = await people(shop, "60")
    outside, _ = await world.outside_wallet()
    body = {
        "userId": gina.id,
        "amount": "10.00",
        "destinationType": "crypto",
        "destinationRef": outside,
        "commit": True,
    }
    await world.fault("horizon", "/transactions", "error_before")
    asked = asyncio.create_task(shop.post("/withdrawals", body))
    running_sagas = "SELECT count(*) FROM sagas WHERE status = 'RUNNING'"
    await eventually(lambda: shop.live.value(running_sagas), lambda count: count == 1)
    assert [(await auditor.look()).discrepancies for _ in range(2)] == [0, 0]
    assert await auditor.verdict(WALLET, gina.id) == "UNKNOWN"
    await world.mend()
    assert (await asked).status == 201
    await eventually(lambda: shop.live.value(running_sagas), lambda count: count == 0)
    await auditor.look()
    assert await auditor.verdict(WALLET, gina.id) == "AGREES"


async def test_what_cannot_be_read_judges_nothing_and_keeps_its_place(
    shop: Marketplace, auditor: Auditor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [hugo] = await people(shop, "5")
    await auditor.steal(hugo.address, UNIT)
    database = shop.live.product.database
    monkeypatch.setattr(totals, "CATCH_UP_SECONDS", 0)
    await database.run(lambda tx: tx.execute("UPDATE cursors SET ledger = 1"))
    behind = await auditor.look()
    assert (behind.checked, behind.errors) == (0, 1), "deposits may not be booked yet"
    await database.run(lambda tx: tx.execute("UPDATE cursors SET ledger = 1000000000"))
    await world.fault("horizon", "/accounts", "error_before")
    away = await auditor.look()
    assert (away.checked, away.discrepancies, away.errors) == (0, 0, 1)
    await world.mend()
    assert await auditor.verdict(WALLET, hugo.id) == "None"
    assert [(await auditor.look()).discrepancies for _ in range(2)] == [0, 1]
    [found] = await auditor.about(WALLET, hugo.id)
    await auditor.settle(found, "Seen.")


async def test_many_wallets_are_walked_over_several_runs(
    shop: Marketplace, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people(shop, "1", "1", "1")
    users = await shop.live.value("SELECT count(DISTINCT user_id) FROM wallets WHERE purpose = 'user'")
    database = shop.live.product.database
    await database.run(lambda tx: tx.execute("DELETE FROM total_looks"))
    monkeypatch.setattr(jobs, "TOTALS_USERS", 2)
    looked = "SELECT count(*) FROM total_looks"
    for seen in range(2, users + 1, 2):
        assert (await auditor.look()).checked == 2
        assert await shop.live.value(looked) == seen
    suspect = await shop.live.value("SELECT subject_id FROM total_looks ORDER BY looked_at DESC LIMIT 1")
    mark = "UPDATE total_looks SET is_first = true, looked_at = clock_timestamp() WHERE subject_id = $1"
    await database.run(lambda tx: tx.execute(mark, suspect))
    await auditor.look()
    newest = "SELECT subject_id FROM total_looks ORDER BY looked_at DESC LIMIT 2"
    assert suspect in [row["subject_id"] for row in await shop.live.rows(newest)], (
        "what is to be confirmed comes first"
    )

"""Reconciliation as it happens: real deposits that were missed, real contracts that tell another story."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.app import product
from offerhub.providers.stellar import horizon
from offerhub.providers.trustless_work.client import Sent
from offerhub.providers.trustless_work.intents import ApproveIntent, CallIntent, ReleaseIntent, StatusIntent
from offerhub.reconciliation import jobs
from offerhub.settings import load
from offerhub.wallets import histories, totals
from offerhub.wallets import jobs as wallet_jobs
from offerhub.wallets.booking import ASIDE, credit_name
from offerhub.wallets.deposits import CursorMoved, cursor_name
from support.damage import damage
from support.outside import World, eventually
from support.product import MASTER_KEY, Marketplace, Person, Running, running

UNIT = 10_000_000
FEE_BID = 5_000_000
"""Stroops per operation: users' wallets hold no XLM, so the platform's account pays."""
LOOK = "SELECT * FROM reconciliation_runs WHERE job = $1 ORDER BY id"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two questions, and nothing is too fresh to be asked about."""
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(jobs, "ESCROWS_STALE_SECONDS", 0)
    # Where nobody watches, deposits never catch up.
    monkeypatch.setattr(totals, "CATCH_UP_SECONDS", 0)


@pytest.fixture(scope="module")
async def blind(office_environ: dict[str, str]) -> AsyncIterator[Running]:
    """A product that does not watch for deposits; the books hold after it."""
    async with running({**office_environ, "DISABLE_BLOCKCHAIN_MONITOR": "true"}) as found:
        yield found
        await found.assert_books_hold()


@pytest.fixture(scope="module")
async def shop(blind: Running, world: World, http: aiohttp.ClientSession) -> Marketplace:
    """A marketplace at the product that does not watch."""
    return await Marketplace.found(blind, world, http)


@pytest.fixture(scope="module")
def operator(blind: Running, world: World, http: aiohttp.ClientSession) -> Marketplace:
    """Whoever runs the installation."""
    return Marketplace(blind, world, http, DEFAULT_MARKETPLACE_ID, MASTER_KEY)


async def reconcile(operator: Marketplace, job: str) -> dict[str, Any]:
    """Ask for a run and wait for its end."""
    asked = await operator.done("POST", f"/admin/reconciliation/{job}/run", status=202)

    async def run() -> dict[str, Any]:
        listed = (await operator.get(f"/admin/reconciliation/runs?job={job}&limit=5")).json["data"]
        return next(one for one in listed if one["id"] == asked["id"])

    done = await eventually(run, lambda found: found["endedAt"] is not None)
    assert done["status"] == "SUCCEEDED", done
    return done


async def sources(shop: Marketplace, person: Person) -> list[str]:
    """Who saw each of a person's deposits."""
    rows = await shop.live.rows(
        "SELECT payload ->> 'source' AS source FROM events WHERE aggregate_id = $1 AND type = 'balance.credited'"
        " ORDER BY sequence",
        person.id,
    )
    return [row["source"] for row in rows]


async def test_a_missed_deposit_is_found_and_credited_once(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    alice, bob = await shop.people(None, None)
    await world.mint(alice.address, "12.5")
    await world.mint(alice.address, "0.0000001")
    assert await shop.balance(alice) == ("0.00", "0.00"), "nobody watches"
    run = await reconcile(operator, "check-missed-deposits")
    assert (run["job"], run["trigger"], run["requestedBy"]) == ("check-missed-deposits", "manual", "master")
    assert run["checked"] >= 2
    assert (run["changed"], run["errors"]) == (2, 0)
    assert await shop.units(alice.id) == {"available": 125_000_001}
    assert await shop.units(bob.id) == {}
    assert await sources(shop, alice) == ["stellar_deposit_reconciled"] * 2
    again = await reconcile(operator, "check-missed-deposits")
    assert (again["changed"], again["errors"]) == (0, 0)
    assert await shop.postings(alice.id) == ["deposit"] * 2


async def test_a_search_that_races_with_the_watcher_credits_once(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    people = await shop.people(None, None, None)
    cursor = await shop.live.product.horizon.newest_payment_cursor()
    for _ in range(4):
        await asyncio.gather(*(world.mint(person.address, "1") for person in people))
    made = shop.live.product
    await made.deposits.begin()
    name = cursor_name("horizon")
    await made.database.run(lambda tx: tx.execute("UPDATE cursors SET position = $2 WHERE name = $1", name, cursor))

    async def watch() -> None:
        # Two watchers, as if the lease of one had run out.
        with contextlib.suppress(CursorMoved):
            while await made.deposits.book_page():
                pass

    search = made.reconciliation._jobs["check-missed-deposits"].work
    _, _, *done = await asyncio.gather(watch(), watch(), search(), search())
    assert [one.errors for one in done] == [0, 0]
    for person in people:
        assert await shop.units(person.id) == {"available": 4 * UNIT}
        assert await shop.postings(person.id) == ["deposit"] * 4
    await shop.live.assert_books_hold()


async def test_a_long_history_is_read_in_pages_and_never_without_end(
    shop: Marketplace, operator: Marketplace, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(horizon, "PAGE_RECORDS_MAX", 2)
    [alice] = await shop.people(None)
    for _ in range(7):
        await world.mint(alice.address, "1")
    monkeypatch.setattr(histories, "PAGES_MAX", 2)
    short = await reconcile(operator, "check-missed-deposits")
    assert short["errors"] >= 1, "what was not reached is told"
    assert await shop.units(alice.id) == {"available": 4 * UNIT}, "the newest come first"
    monkeypatch.setattr(histories, "PAGES_MAX", 10)
    assert (await reconcile(operator, "check-missed-deposits"))["changed"] == 3
    assert await shop.units(alice.id) == {"available": 7 * UNIT}


async def test_what_lies_before_the_last_look_is_not_asked_about_for_ever(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    [alice] = await shop.people(None)
    await world.mint(alice.address, "1")
    made = shop.live.product
    await made.database.run(
        lambda tx: tx.execute(
            """
            INSERT INTO wallet_checks (wallet_id, checked_at)
            SELECT id, clock_timestamp() + interval '2 hours' FROM wallets WHERE purpose = 'user'
            ON CONFLICT (wallet_id) DO UPDATE SET checked_at = excluded.checked_at
            """
        )
    )
    looking = {"limit": 1000, "pause_seconds": 0}
    nothing = await wallet_jobs.check_missed_deposits(
        made.database, made.horizon, made.clock, lookback_seconds=0, **looking
    )
    assert (nothing.credited, nothing.failed) == (0, 0)
    found = await wallet_jobs.check_missed_deposits(
        made.database, made.horizon, made.clock, lookback_seconds=3600, **looking
    )
    assert (found.credited, found.failed) == (1, 0)
    assert await shop.units(alice.id) == {"available": UNIT}


async def test_what_an_escrow_pays_out_is_no_missed_deposit(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    buyer, seller = await shop.people(None, None)
    await world.mint(buyer.address, "100")
    await reconcile(operator, "check-missed-deposits")
    order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    await shop.done("POST", f"/orders/{order_id}/resolution/release")
    assert (await reconcile(operator, "check-missed-deposits"))["changed"] == 0
    assert await shop.units(seller.id) == {"available": 99_700_000}


async def test_what_was_put_aside_stays_a_persons_decision(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    [alice] = await shop.people(None)
    await world.mint(alice.address, "3")
    page = await shop.live.product.horizon.account_transfers(alice.address)
    [moved] = [one for one in page.transfers if one.amount == 3 * UNIT]
    await shop.live.product.database.run(
        lambda tx: tx.execute(
            "INSERT INTO quarantined_records (source, record_id, record, reason) VALUES ($1, $2, '{}', 'a test')",
            ASIDE,
            credit_name(moved),
        )
    )
    run = await reconcile(operator, "check-missed-deposits")
    assert (run["changed"], run["errors"]) == (0, 0)
    assert await shop.units(alice.id) == {}


async def test_a_deposit_that_cannot_be_booked_is_put_aside_by_the_search_too(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    alice, bob = await shop.people(None, None)
    database = shop.live.product.database
    await database.run(
        lambda tx: tx.execute(
            f"ALTER TABLE deposits ADD CONSTRAINT not_alice CHECK (address <> '{alice.address}') NOT VALID"
        )
    )
    await world.mint(alice.address, "1")
    await world.mint(bob.address, "2")
    run = await reconcile(operator, "check-missed-deposits")
    await database.run(lambda tx: tx.execute("ALTER TABLE deposits DROP CONSTRAINT not_alice"))
    assert (run["changed"], run["errors"]) == (1, 1)
    assert await shop.units(bob.id) == {"available": 2 * UNIT}
    again = await reconcile(operator, "check-missed-deposits")
    assert (again["changed"], again["errors"]) == (0, 0)
    path = "/admin/reconciliation/findings?kind=DEPOSIT_QUARANTINED"
    [found] = (await operator.get(f"{path}&marketplaceId={shop.id}")).json["data"]
    assert (found["amountUnits"], found["subjectType"], found["timesSeen"]) == (UNIT, "Deposit", 1)
    assert (found["evidence"]["to"], found["evidence"]["userId"]) == (alice.address, alice.id)
    assert "not_alice" in found["evidence"]["reason"]
    # What the operators' guide says to do.
    await database.run(
        lambda tx: tx.execute("DELETE FROM quarantined_records WHERE record_id = $1", found["subjectId"])
    )
    forget = "DELETE FROM wallet_checks WHERE wallet_id = (SELECT id FROM wallets WHERE public_key = $1)"
    await database.run(lambda tx: tx.execute(forget, found["evidence"]["to"]))
    assert (await reconcile(operator, "check-missed-deposits"))["changed"] == 1
    assert await shop.units(alice.id) == {"available": UNIT}


@pytest.mark.usefixtures("mended")
async def test_a_horizon_that_is_away_only_delays(shop: Marketplace, operator: Marketplace, world: World) -> None:
    [alice] = await shop.people(None)
    await world.mint(alice.address, "5")
    fault = await world.fault("horizon", f"/accounts/{alice.address}", "error_before")
    run = await reconcile(operator, "check-missed-deposits")
    assert await fault.fired() >= 1
    assert run["errors"] == 1
    await world.mend()
    await reconcile(operator, "check-missed-deposits")
    assert await shop.units(alice.id) == {"available": 5 * UNIT}


async def test_the_wallet_checked_longest_ago_comes_first(
    shop: Marketplace, operator: Marketplace, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.people(None, None, None)
    wallets = await shop.live.value("SELECT count(*) FROM wallets WHERE purpose = 'user'")
    monkeypatch.setattr(jobs, "DEPOSITS_WALLETS", 2)
    before = await shop.live.value("SELECT clock_timestamp()")
    for _ in range(-(-wallets // 2)):
        assert (await reconcile(operator, "check-missed-deposits"))["checked"] == 2
    unseen = """
    SELECT count(*) FROM wallets w LEFT JOIN wallet_checks c ON c.wallet_id = w.id
    WHERE w.purpose = 'user' AND (c.checked_at IS NULL OR c.checked_at < $1)
    """
    assert await shop.live.value(unseen, before) == 0, "each had its turn"


async def funded(shop: Marketplace, operator: Marketplace, world: World) -> tuple[str, Any]:
    """An order in progress, with its escrow's row."""
    buyer, seller = await shop.people(None, None)
    await world.mint(buyer.address, "100")
    await reconcile(operator, "check-missed-deposits")
    order_id = await shop.order(buyer, seller, "40.00", "IN_PROGRESS")
    [escrow] = await shop.live.rows("SELECT * FROM escrows WHERE order_id = $1", order_id)
    return order_id, escrow


async def tell_contract(shop: Marketplace, intent: CallIntent) -> None:
    """Do something to a contract behind the product's back, with the keys it keeps."""
    made = shop.live.product
    unsigned = await made.trustless_work.build(intent)
    signed = await made.keyring.sign([intent.signer], unsigned)
    [platform] = await shop.live.rows("SELECT public_key FROM wallets WHERE purpose = 'platform'")
    bumped = await made.keyring.bump(platform["public_key"], signed.xdr, FEE_BID)
    assert isinstance(await made.trustless_work.send(bumped.xdr), Sent)


async def test_escrows_that_agree_with_their_contracts_are_left_in_peace(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    order_id, escrow = await funded(shop, operator, world)
    run = await reconcile(operator, "sync-escrows")
    assert run["checked"] >= 1
    assert (run["changed"], run["discrepancies"], run["errors"]) == (0, 0, 0)
    after = await shop.live.rows("SELECT * FROM escrows WHERE order_id = $1", order_id)
    assert dict(after[0]) == dict(escrow), "a look is not a change"


async def test_a_contract_that_paid_out_by_itself_is_reported_once_and_nothing_is_booked(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    order_id, escrow = await funded(shop, operator, world)
    contract, roles = escrow["contract_id"], escrow["roles"]
    for index in range(len(escrow["terms"]["milestones"])):
        await tell_contract(shop, StatusIntent(contract, roles["service_provider"], index, "completed"))
        await tell_contract(shop, ApproveIntent(contract, roles["approver"], index))
    await tell_contract(shop, ReleaseIntent(contract, roles["release_signer"]))
    before = await shop.counts()
    run = await reconcile(operator, "sync-escrows")
    assert (run["discrepancies"], run["errors"]) == (1, 0)
    assert (await reconcile(operator, "sync-escrows"))["discrepancies"] == 0, "known by now"
    [found] = (await shop.get(f"/audit/logs?resourceId={escrow['id']}&action=DISCREPANCY_FOUND")).json["data"]
    assert (found["result"], found["payloadAfter"]["kind"]) == ("DISCREPANCY_FOUND", "PAID_OUT")
    assert found["payloadAfter"]["contractFlags"]["released"] is True
    [after] = await shop.live.rows("SELECT * FROM escrows WHERE order_id = $1", order_id)
    assert dict(after) == dict(escrow), "the local state is nobody's guess"
    assert (await shop.done("GET", f"/orders/{order_id}"))["status"] == "IN_PROGRESS"
    assert await shop.counts() == before


async def test_an_escrow_that_nobody_carries_on_is_reported(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    _, escrow = await funded(shop, operator, world)
    database = shop.live.product.database
    await database.run(lambda tx: tx.execute("UPDATE escrows SET status = 'RELEASING' WHERE id = $1", escrow["id"]))
    assert (await reconcile(operator, "sync-escrows"))["discrepancies"] == 1
    [found] = await shop.live.rows(
        "SELECT kind, evidence ->> 'status' FROM findings WHERE subject_id = $1", escrow["id"]
    )
    assert tuple(found) == ("NO_SAGA", "RELEASING")
    await database.run(lambda tx: tx.execute("UPDATE escrows SET status = 'FUNDED' WHERE id = $1", escrow["id"]))
    await reconcile(operator, "sync-escrows")
    [ended] = await findings_about(operator, escrow["id"])
    assert (ended["status"], ended["resolvedBy"]) == ("RESOLVED", "system:reconciliation")
    assert ended["resolution"]["contractBalance"] == "40.0000000", "the evidence"


async def findings_about(operator: Marketplace, subject_id: str, status: str | None = None) -> list[dict[str, Any]]:
    """What was found about something."""
    narrowed = "" if status is None else f"&status={status}"
    path = f"/admin/reconciliation/findings?subjectId={subject_id}{narrowed}"
    found: list[dict[str, Any]] = (await operator.get(path)).json["data"]
    return found


async def test_a_person_sees_to_a_finding_and_an_order_that_ends_ends_it(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    order_id, escrow = await funded(shop, operator, world)
    database = shop.live.product.database
    raise_amount = "UPDATE escrows SET amount = amount + $2 WHERE id = $1"
    await damage(database, raise_amount, escrow["id"], 10 * UNIT)
    await reconcile(operator, "sync-escrows")
    [found] = await findings_about(operator, escrow["id"], "OPEN")
    assert (found["kind"], found["amount"], found["amountUnits"]) == ("OTHER_TERMS", "-10.00", -10 * UNIT)
    assert (found["evidence"]["amount"], found["evidence"]["contractBalance"]) == ("50.0000000", "40.0000000")
    assert (found["marketplaceId"], found["subjectType"], found["timesSeen"]) == (shop.id, "Escrow", 1)
    assert "security incident" in found["nextAction"]
    one = f"/admin/reconciliation/findings/{found['id']}"
    seen = await operator.done("POST", f"{one}/acknowledge", {"reason": "we changed it ourselves"})
    assert (seen["status"], seen["note"], seen["acknowledgedBy"]) == (
        *("ACKNOWLEDGED", "we changed it ourselves"),
        "master",
    )
    assert (await reconcile(operator, "sync-escrows"))["discrepancies"] == 0, "somebody looks at it"
    assert (await operator.done("GET", one))["timesSeen"] == 2
    await damage(database, raise_amount, escrow["id"], -10 * UNIT)
    await shop.done("POST", f"/orders/{order_id}/resolution/release")
    await reconcile(operator, "sync-escrows")
    [ended] = await findings_about(operator, escrow["id"])
    assert (ended["status"], ended["resolution"]) == ("RESOLVED", {"status": "RELEASED"})
    await operator.refused("POST", f"{one}/resolve", {"reason": "late"}, status=409, code="INVALID_STATE")
    await operator.refused("POST", f"{one}/acknowledge", {"reason": " "}, status=400, code="VALIDATION_ERROR")


@pytest.mark.usefixtures("mended")
async def test_trustless_work_that_is_away_reports_nothing(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    _, escrow = await funded(shop, operator, world)
    fault = await world.fault("trustless_work", "/helper/get-escrow-by-contract-ids", "error_before")
    run = await reconcile(operator, "sync-escrows")
    assert await fault.fired() >= 1
    assert (run["discrepancies"], run["errors"]) == (0, 1)
    assert "DISCREPANCY_FOUND" not in await shop.audit(escrow["id"])


async def test_a_request_is_repeated_with_its_key(operator: Marketplace) -> None:
    path = "/admin/reconciliation/sync-escrows/run"
    first = await operator.post(path, key="once")
    again = await operator.post(path, key="once")
    assert (first.status, again.status) == (202, 202)
    assert again.data == first.data
    assert again.headers["idempotency-replay"] == "true"
    await operator.refused("POST", "/admin/reconciliation/sync-topups/run", status=404, code="NOT_FOUND")
    for bad in ("limit=0", "cursor=run_x", "job=nothing", "status=DONE"):
        await operator.refused("GET", f"/admin/reconciliation/runs?{bad}", status=400, code="VALIDATION_ERROR")
    audited = "SELECT count(*) FROM audit_entries WHERE resource_id = $1 AND action = 'RECONCILIATION_REQUESTED'"
    assert await operator.live.value(audited, first.data["id"]) == 1
    ended = "SELECT ended_at FROM reconciliation_runs WHERE id = $1"
    await eventually(lambda: operator.live.value(ended, first.data["id"]), lambda moment: moment is not None)


async def test_schedules_fire_once_with_two_processes(
    office_environ: dict[str, str], blind: Running, operator: Marketplace
) -> None:
    assert (await operator.done("GET", "/admin/queues/schedules"))["schedules"] == [], "not under NODE_ENV=test"
    wanted = [schedule.name for schedule in blind.product.reconciliation.schedules()]
    every_one = ["apply-policies", "check-books", "check-missed-deposits", "reconcile-totals", "sync-escrows"]
    assert sorted(wanted) == [f"reconciliation:{job}" for job in every_one]
    by_clock = "SELECT job, status FROM reconciliation_runs WHERE trigger = 'schedule' ORDER BY job"
    environ = {**office_environ, "DISABLE_BLOCKCHAIN_MONITOR": "true"}
    async with running(environ, schedules=True), running(environ, schedules=True):
        await eventually(
            lambda: blind.rows(by_clock),
            lambda rows: len(rows) == 5 and {row["status"] for row in rows} == {"SUCCEEDED"},
        )
        listed = (await operator.done("GET", "/admin/queues/schedules"))["schedules"]
    rows = await blind.rows(by_clock)
    assert [row["job"] for row in rows] == every_one, "each once"
    assert {one["job"]: one["everySeconds"] for one in listed} == {
        "reconciliation:check-missed-deposits": 300,
        "reconciliation:sync-escrows": 600,
        "reconciliation:apply-policies": 60,
        "reconciliation:reconcile-totals": 3_600,
        "reconciliation:check-books": 86_400,
    }
    for one in listed:
        assert one["lastRun"]["trigger"] == "schedule"
        assert one["nextRunAt"] > one["lastRun"]["startedAt"]


async def test_the_search_for_deposits_is_not_scheduled_where_it_is_switched_off(
    office_environ: dict[str, str],
) -> None:
    async with product(load({**office_environ, "RECONCILIATION_ENABLED": "false"})) as made:
        assert [one.id for one in made.reconciliation.schedules()] == [
            *("scheduled-sync-escrows", "scheduled-apply-policies"),
            *("scheduled-reconcile-totals", "scheduled-check-books"),
        ]


async def test_airtm_is_asked_where_it_is_the_rail(airtm_live: Running) -> None:
    assert {one.id: one.every_seconds for one in airtm_live.product.reconciliation.schedules()} == {
        "scheduled-sync-topups": 300,
        "scheduled-sync-withdrawals": 300,
        "scheduled-sync-refunds": 300,
        "scheduled-sync-escrows": 600,
        "scheduled-check-missed-deposits": 300,
        "scheduled-apply-policies": 60,
        "scheduled-reconcile-totals": 3_600,
        "scheduled-check-books": 86_400,
    }

"""Runs of reconciliation jobs: one at a time, noted from beginning to end, taken over from the dead."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.errors import NotFound, ValidationFailed
from offerhub.kernel.clock import SystemClock
from offerhub.reconciliation import service
from offerhub.reconciliation.model import Outcome, ReconciliationJob, RunsQuery
from offerhub.reconciliation.service import Reconciliation
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Row
from support.outside import PATIENCE_SECONDS

OPERATOR = Actor(DEFAULT_MARKETPLACE_ID, "api_key", "key_1", "ops", frozenset({"support"}))
STRANGER = Actor("mkt_other", "api_key", "key_2", "ops", frozenset({"*"}))


class Bench:
    """One job whose work a test decides about."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ran = 0
        self.result: Outcome | Exception = Outcome(checked=3, changed=2, discrepancies=1, errors=1)
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.begun = asyncio.Event()
        self.job = ReconciliationJob("sync-escrows", 600, self._work)
        self.reconciliation = Reconciliation(database, SystemClock(), [self.job])

    async def _work(self) -> Outcome:
        self.ran += 1
        self.begun.set()
        await self.go_on.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    async def request(self, actor: Actor = OPERATOR, job: str = "sync-escrows") -> tuple[str, bool]:
        run, fresh = await self.database.run(lambda tx: self.reconciliation.request(tx, actor, job))
        return run.id, fresh

    async def rows(self, sql: str = "SELECT * FROM reconciliation_runs ORDER BY id", *args: Any) -> list[Row]:
        return await self.database.run(lambda tx: tx.rows(sql, *args), read_only=True)

    async def change(self, sql: str, *args: Any) -> None:
        await self.database.run(lambda tx: tx.execute(sql, *args))

    async def states(self) -> list[tuple[str, str]]:
        return [(row["trigger"], row["status"]) for row in await self.rows()]


@pytest.fixture
async def bench(fresh_database_url: str) -> AsyncIterator[Bench]:
    database = await Database.connect(fresh_database_url)
    yield Bench(database)
    await database.close()


async def test_a_run_by_the_clock_is_noted_with_what_it_did(bench: Bench) -> None:
    await bench.reconciliation.handlers()["reconciliation", "reconciliation:sync-escrows"]({})
    [row] = await bench.rows()
    assert (row["job"], row["trigger"], row["status"], row["requested_by"]) == (
        "sync-escrows",
        "schedule",
        "SUCCEEDED",
        None,
    )
    assert [row[name] for name in ("checked", "changed", "discrepancies", "errors")] == [3, 2, 1, 1]
    assert row["created_at"] <= row["started_at"] <= row["ended_at"]


async def test_two_runs_of_one_job_are_never_open(bench: Bench) -> None:
    bench.go_on.clear()
    first = asyncio.create_task(bench.reconciliation.run(bench.job))
    await bench.begun.wait()
    await asyncio.gather(*(bench.reconciliation.run(bench.job) for _ in range(4)))
    assert bench.ran == 1
    assert await bench.states() == [("schedule", "RUNNING")]
    running, fresh = await bench.request()
    assert not fresh
    assert running == (await bench.rows())[0]["id"]
    bench.go_on.set()
    await first
    assert await bench.states() == [("schedule", "SUCCEEDED")]


async def test_a_run_that_was_asked_for_is_queued_audited_and_run(bench: Bench) -> None:
    run_id, fresh = await bench.request()
    assert fresh
    assert await bench.request() == (run_id, False), "once"
    [job] = await bench.rows("SELECT queue, name, payload FROM outbox")
    assert tuple(job) == ("reconciliation", "reconciliation:sync-escrows", {"runId": run_id})
    [entry] = await bench.rows("SELECT action, actor_id, resource_id FROM audit_entries")
    assert tuple(entry) == ("RECONCILIATION_REQUESTED", "key_1", run_id)
    await bench.reconciliation.run(bench.job)
    assert bench.ran == 0, "the clock makes way"
    handle = bench.reconciliation.handlers()["reconciliation", "reconciliation:sync-escrows"]
    await handle(job["payload"])
    await handle(job["payload"])
    assert bench.ran == 1, "a job that comes twice runs once"
    [row] = await bench.rows()
    assert (row["trigger"], row["status"], row["requested_by"]) == ("manual", "SUCCEEDED", "key_1")


async def test_a_run_that_fails_says_why_and_is_tried_again(bench: Bench) -> None:
    run_id, _ = await bench.request()
    bench.result = RuntimeError("the key SAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA broke")
    with pytest.raises(RuntimeError):
        await bench.reconciliation.run(bench.job, run_id)
    [row] = await bench.rows()
    assert (row["status"], row["failure"]) == ("FAILED", "RuntimeError: the key ***REDACTED*** broke")
    bench.result = Outcome(1)
    await bench.reconciliation.run(bench.job, run_id)
    [row] = await bench.rows()
    assert (row["status"], row["failure"], row["checked"]) == ("SUCCEEDED", None, 1)


async def test_the_run_of_a_dead_process_does_not_stand_in_the_way(bench: Bench) -> None:
    await bench.change(
        "INSERT INTO reconciliation_runs (id, job, trigger, status, lease_until)"
        " VALUES ('run_' || repeat('0', 32), 'sync-escrows', 'schedule', 'RUNNING', clock_timestamp())"
    )
    await bench.reconciliation.run(bench.job)
    assert await bench.states() == [("schedule", "ABANDONED"), ("schedule", "SUCCEEDED")]


async def test_a_requested_run_goes_on_when_its_worker_has_died(bench: Bench) -> None:
    """The queue hands the job to another; the lease of the dead one does not matter then."""
    bench.go_on.clear()
    run_id, _ = await bench.request()
    dead = asyncio.create_task(bench.reconciliation.run(bench.job, run_id))
    await bench.begun.wait()
    dead.cancel()
    await asyncio.wait([dead])
    assert await bench.states() == [("manual", "RUNNING")]
    bench.go_on.set()
    await bench.reconciliation.run(bench.job, run_id)
    assert await bench.states() == [("manual", "SUCCEEDED")]


async def test_a_request_that_nobody_took_in_time_is_given_up(bench: Bench) -> None:
    run_id, _ = await bench.request()
    await bench.change("UPDATE reconciliation_runs SET created_at = created_at - interval '61 minutes'")
    second, fresh = await bench.request()
    assert fresh
    await bench.reconciliation.run(bench.job, run_id)
    assert bench.ran == 0
    await bench.reconciliation.run(bench.job, second)
    assert await bench.states() == [("manual", "ABANDONED"), ("manual", "SUCCEEDED")]


async def test_a_living_run_keeps_its_lease(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LEASE_SECONDS", 0.4)
    bench.go_on.clear()
    running = asyncio.create_task(bench.reconciliation.run(bench.job))
    await bench.begun.wait()
    before = (await bench.rows())[0]["lease_until"]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await bench.rows())[0]["lease_until"] <= before:
            await asyncio.sleep(0.02)
    bench.go_on.set()
    await running
    assert await bench.states() == [("schedule", "SUCCEEDED")]


async def test_only_operators_ask_and_look(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.request(STRANGER)
    with pytest.raises(NotFound):
        await bench.request(job="sync-topups")
    assert await bench.rows() == []


async def test_runs_are_listed_in_pages_and_by_job_and_state(bench: Bench) -> None:
    for result in (Outcome(), RuntimeError("no"), Outcome()):
        bench.result = result
        await asyncio.gather(bench.reconciliation.run(bench.job), return_exceptions=True)
    ids = [row["id"] for row in await bench.rows()]

    async def listed(**query: Any) -> tuple[list[str], str | None]:
        page = await bench.database.run(lambda tx: service.runs(tx, OPERATOR, RunsQuery(**query)))
        return [one.id for one in page.items], page.next_cursor

    assert await listed(limit=2) == ([ids[2], ids[1]], ids[1])
    assert await listed(limit=2, cursor=ids[1]) == ([ids[0]], None)
    assert await listed(status="FAILED") == ([ids[1]], None)
    assert await listed(job="sync-topups") == ([], None)
    for bad in ({"limit": 0}, {"cursor": "run_nothing"}):
        with pytest.raises(ValidationFailed):
            await listed(**bad)


async def test_old_runs_are_forgotten(bench: Bench) -> None:
    for _ in range(2):
        await bench.reconciliation.run(bench.job)
    [old, kept] = [row["id"] for row in await bench.rows()]
    await bench.change("UPDATE reconciliation_runs SET ended_at = ended_at - interval '31 days' WHERE id = $1", old)
    assert await bench.database.run(service.purge) == 1
    assert [row["id"] for row in await bench.rows()] == [kept]

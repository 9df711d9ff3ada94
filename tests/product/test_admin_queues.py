"""What an operator sees of the queues and does about dead letters, over HTTP, with the product's own workers."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any, get_args

import aiohttp
import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.operations.model import QueueName
from offerhub.queues import NAMES
from offerhub.runtime.outbox import Relay, job_id
from offerhub.runtime.queue import Queues
from support.outside import World, eventually
from support.product import MASTER_KEY, Marketplace, Running, running

QUEUE = "sagas"


@pytest.fixture(scope="module")
async def office(office_environ: dict[str, str]) -> AsyncIterator[Running]:
    """A product whose queues are nobody else's."""
    async with running(office_environ) as found:
        yield found


@pytest.fixture(scope="module")
async def operator(office: Running, world: World, http: aiohttp.ClientSession) -> Marketplace:
    """A key of the default marketplace that may do what operators do, and nothing else."""
    master = Marketplace(office, world, http, DEFAULT_MARKETPLACE_ID, MASTER_KEY)
    return await master.with_key("support")


@pytest.fixture(scope="module")
async def queues(office_environ: dict[str, str]) -> AsyncIterator[Queues]:
    queues = Queues(office_environ["REDIS_URL"])
    yield queues
    await queues.close()


async def fail(office: Running, queues: Queues, **payload: Any) -> tuple[str, int]:
    """A job of the outbox that no worker can run, after its last attempt: its letter's id, and its row's."""
    row = await office.product.database.run(
        lambda tx: tx.value(
            "INSERT INTO outbox (queue, name, payload, enqueued_at, enqueued)"
            " VALUES ($1, 'drive', $2, clock_timestamp(), 1) RETURNING id",
            QUEUE,
            payload,
        )
    )
    await queues.add(QUEUE, "drive", payload, job_id=job_id(row, 1), attempts=1, outbox_id=row)
    await eventually(lambda: queues.state(QUEUE, job_id(row, 1)), lambda state: state == "failed")
    assert await office.value("SELECT count(*) FROM dead_letters WHERE outbox_id = $1", row) == 1
    return f"{QUEUE}.{job_id(row, 1)}", row


@contextlib.asynccontextmanager
async def office_letters(live: Running) -> AsyncIterator[tuple[str, str]]:
    """A letter that came from the outbox, and one whose job somebody else has put into Redis."""
    database = live.product.database
    sql = """
        WITH row AS (
            INSERT INTO outbox (queue, name, payload, enqueued_at, enqueued, dead_at)
            SELECT 'sagas', 'drive', '{}', now(), 1, now() WHERE $1 RETURNING id
        ), named AS (
            SELECT id, 'outbox-' || id AS key FROM row UNION ALL SELECT NULL, 'theirs' WHERE NOT $1
        )
        INSERT INTO dead_letters
        SELECT 'sagas.' || key, 'sagas', key, key, 'drive', '{}', id, 5, 'no', '', now(), now() FROM named
        RETURNING id
    """
    made = [await database.run(lambda tx, ours=ours: tx.value(sql, ours)) for ours in (True, False)]
    yield made[0], made[1]
    await database.run(lambda tx: tx.execute("DELETE FROM dead_letters WHERE id = ANY($1)", made))


async def outbox(office: Running, row: int) -> int:
    return int(await office.value("SELECT count(*) FROM outbox WHERE id = $1", row))


async def test_a_job_that_fails_for_good_is_listed_and_shown(
    office: Running, operator: Marketplace, queues: Queues
) -> None:
    letter_id, _ = await fail(office, queues, apiKey="ohk_live_key_secret", note="hello")
    [shown] = (await operator.get("/admin/dlq?queue=sagas&limit=1")).json["data"]
    assert (shown["id"], shown["queue"], shown["job"], shown["attempts"]) == (letter_id, QUEUE, "drive", 1)
    assert shown["reason"] == "'sagaId'"
    assert shown["payload"] == {"apiKey": "***REDACTED***", "note": "hello"}, "secrets are masked"
    assert shown["createdAt"] <= shown["failedAt"]
    assert not {"trace", "history"} & set(shown)
    one = await operator.done("GET", f"/admin/dlq/{letter_id}")
    assert "KeyError" in one.pop("trace")
    [attempt] = one.pop("history")
    assert (attempt["attempt"], attempt["reason"]) == (1, shown["reason"])
    assert attempt["failedAt"] <= shown["failedAt"]
    assert attempt["worker"].endswith(f":{os.getpid()}")
    assert one == shown
    counts = (await operator.done("GET", "/admin/queues"))["queues"]
    assert set(counts) == set(NAMES) == set(get_args(QueueName))
    assert counts[QUEUE]["failed"] >= counts[QUEUE]["deadLetters"] >= 1
    assert [counts[name]["workers"] for name in NAMES] == [1] * len(NAMES)
    assert not any(counts[name]["paused"] for name in NAMES)
    assert all(counts[name]["notHandedOver"] >= 0 for name in NAMES)
    assert counts["webhooks"]["oldestSeconds"] is None


async def test_the_list_has_pages(office: Running, operator: Marketplace, queues: Queues) -> None:
    made = [(await fail(office, queues, number=number))[0] for number in range(3)]
    first = (await operator.get("/admin/dlq?limit=2")).json
    assert [one["id"] for one in first["data"]] == [made[2], made[1]]
    cursor = first["pagination"]["nextCursor"]
    # The letter that the cursor was made from may go meanwhile.
    await operator.done("DELETE", f"/admin/dlq/{made[1]}")
    second = (await operator.get(f"/admin/dlq?limit=1&cursor={cursor}")).json
    assert [one["id"] for one in second["data"]] == [made[0]]
    nothing = (await operator.get("/admin/dlq?limit=0")).json
    assert (nothing["data"], nothing["pagination"]["hasMore"]) == ([], False)
    for bad in ("limit=51", "limit=-1", "limit=x", "queue=nothing", "cursor=nothing", "cursor=1.", "colour=red"):
        await operator.refused("GET", f"/admin/dlq?{bad}", status=400, code="VALIDATION_ERROR")


async def test_a_retried_job_runs_again(office: Running, operator: Marketplace, queues: Queues) -> None:
    letter_id, row = await fail(office, queues, note="no saga")
    before = await operator.done("GET", f"/admin/dlq/{letter_id}")
    moved = await operator.done("POST", f"/admin/dlq/{letter_id}/retry")
    assert moved == {"id": letter_id, "queue": QUEUE, "job": "drive", "status": "RETRIED"}

    assert (await operator.get(f"/admin/dlq/{letter_id}")).status == 404, "it has its attempts again"
    assert await outbox(office, row) == 1, "its row stays until it has run"
    assert before["attempts"] == 1
    # What was broken is mended before it is handed over: the job can be run, and its row goes with it.
    mended = {"sagaId": "sga_" + "0" * 32}
    sql = "UPDATE outbox SET payload = $2, enqueued_at = NULL, enqueued = enqueued + 1 WHERE id = $1"
    await office.product.database.run(lambda tx: tx.execute(sql, row, mended))
    await eventually(lambda: outbox(office, row), lambda rows: rows == 0)
    await operator.refused("POST", f"/admin/dlq/{letter_id}/retry", status=404, code="NOT_FOUND")
    assert await operator.audit(letter_id) == ["DEAD_LETTER_RETRIED"]


async def test_a_discarded_job_is_never_handed_over_again(
    office: Running, operator: Marketplace, queues: Queues
) -> None:
    letter_id, row = await fail(office, queues, note="away with it")
    kept_id, kept = await fail(office, queues, note="stays")
    moved = await operator.done("DELETE", f"/admin/dlq/{letter_id}")
    assert moved["status"] == "DISCARDED"
    relay = Relay(office.product.database, queues, sweep_after_seconds=0)
    await relay.sweep()
    await relay.hand_over()
    assert await outbox(office, row) == 0
    assert await queues.state(QUEUE, job_id(row, 1)) == await queues.state(QUEUE, job_id(row, 2)) == "unknown"
    await operator.refused("DELETE", f"/admin/dlq/{letter_id}", status=404, code="NOT_FOUND")
    assert await operator.audit(letter_id) == ["DEAD_LETTER_DISCARDED"]
    assert await outbox(office, kept) == 1
    assert (await operator.get(f"/admin/dlq/{kept_id}")).status == 200


async def test_the_queues_are_the_operators_alone(
    office: Running, world: World, http: aiohttp.ClientSession, operator: Marketplace, queues: Queues
) -> None:
    letter_id, row = await fail(office, queues, note="theirs")
    other = await Marketplace.found(office, world, http)
    bound = await operator.using(MASTER_KEY).with_key(
        "*",
        userId=(await operator.using(MASTER_KEY).done("POST", "/users", {"externalUserId": "u"}, status=201))["id"],
    )
    for caller in (other, bound):
        for path in ("/admin/queues", "/admin/queues/schedules", "/admin/dlq", "/admin/reconciliation/runs"):
            await caller.refused("GET", path, status=403, code="INSUFFICIENT_SCOPE")
        for method, path in (
            ("GET", f"/admin/dlq/{letter_id}"),
            ("POST", f"/admin/dlq/{letter_id}/retry"),
            ("DELETE", f"/admin/dlq/{letter_id}"),
            ("POST", "/admin/reconciliation/sync-escrows/run"),
        ):
            await caller.refused(method, path, status=404, code="NOT_FOUND")
    assert await queues.state(QUEUE, job_id(row, 1)) == "failed"
    assert await office.value("SELECT count(*) FROM reconciliation_runs") == 0


async def test_without_redis_the_queues_are_unavailable(
    office_environ: dict[str, str], world: World, http: aiohttp.ClientSession
) -> None:
    async with running({**office_environ, "REDIS_URL": "redis://127.0.0.1:1/0"}, jobs=False) as live:
        operator = Marketplace(live, world, http, DEFAULT_MARKETPLACE_ID, MASTER_KEY)
        for method, path in (
            ("GET", "/admin/queues"),
            ("GET", "/admin/queues/schedules"),
        ):
            heard = await operator.send(method, path)
            assert (heard.status, heard.code) == (503, "SERVICE_UNAVAILABLE"), heard.body
            assert "Redis" in heard.json["error"]["message"]
            assert "127.0.0.1" not in heard.body.decode()
        assert (await operator.get("/admin/reconciliation/runs")).status == 200
        # Letters are in PostgreSQL: they are shown and decided about all the same.
        async with office_letters(live) as (ours, foreign):
            shown = (await operator.get("/admin/dlq")).json["data"]
            assert {one["id"] for one in shown} >= {ours, foreign}
            assert (await operator.done("POST", f"/admin/dlq/{ours}/retry"))["status"] == "RETRIED"
            heard = await operator.send("DELETE", f"/admin/dlq/{foreign}")
            assert (heard.status, heard.code) == (503, "SERVICE_UNAVAILABLE"), "it would come back from Redis"
            assert (await operator.get(f"/admin/dlq/{foreign}")).status == 200

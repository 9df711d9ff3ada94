"""BullMQ against a real Valkey: once, again after failure and death, and through outages."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio as redis
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from offerhub.runtime import queue as queue_module
from offerhub.runtime.jobs import Depth, Failure, Handler, Limit, Priority
from offerhub.runtime.queue import Queues, QueueUnavailable, Workers, redis_client
from support.own_redis import OwnRedis

PATIENCE_SECONDS = 30
LOCK_SECONDS = 2.0


async def eventually(condition: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def work(redis_url: str) -> AsyncIterator[Callable[..., Workers]]:
    """Start workers for one handler; they are closed in the end."""
    started: list[Workers] = []

    def start(queue: str, handler: Handler, *, url: str = redis_url, **options: Any) -> Workers:
        workers = Workers(url, {(queue, "greet"): handler}, {queue: 4}, lock_seconds=LOCK_SECONDS, **options)
        workers.start()
        started.append(workers)
        return workers

    yield start
    for workers in started:
        await workers.close(0)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "BACKOFF_SECONDS", 0.01)


async def test_a_job_that_is_added_twice_runs_once(queue: str, queues: Queues, work: Callable[..., Workers]) -> None:
    ran: list[dict[str, Any]] = []
    finished: list[int] = []

    async def handler(payload: dict[str, Any]) -> None:
        ran.append(payload)

    async def finish(outbox_id: int) -> None:
        finished.append(outbox_id)

    await queues.add(queue, "greet", {"to": "Ada"}, job_id="outbox-17", outbox_id=17)
    await queues.add(queue, "greet", {"to": "Ada"}, job_id="outbox-17", outbox_id=17)
    work(queue, handler, finish=finish)
    await queues.add(queue, "greet", {"to": "Bob"}, job_id="other")

    async def done() -> bool:
        return [await queues.state(queue, job) for job in ("outbox-17", "other")] == ["completed"] * 2

    await eventually(done)
    await queues.add(queue, "greet", {"to": "Ada"}, job_id="outbox-17", outbox_id=17)
    assert sorted(payload["to"] for payload in ran) == ["Ada", "Bob"]
    assert finished == [17]


async def test_the_data_is_laid_out_as_documented(queue: str, queues: Queues, redis_url: str) -> None:
    await queues.add(queue, "greet", {"to": "Ada"}, job_id="outbox-17", outbox_id=17)
    client = redis.from_url(redis_url, decode_responses=True)
    job = await client.hgetall(f"bull:{queue}:outbox-17")
    await client.aclose()
    assert job["name"] == "greet"
    assert json.loads(job["data"]) == {"outboxId": 17, "payload": {"to": "Ada"}}
    options = json.loads(job["opts"])
    assert options["attempts"] == 5
    assert options["removeOnComplete"] == {"count": 1000}
    assert options["removeOnFail"] is False
    assert options["backoff"]["type"] == "exponential"
    assert 1500 <= options["backoff"]["delay"] <= 4500


async def test_a_delayed_job_waits(queue: str, queues: Queues) -> None:
    await queues.add(queue, "greet", {}, job_id="later", delay_seconds=3600)
    assert await queues.state(queue, "later") == "delayed"
    assert await queues.state(queue, "nothing") == "unknown"


@pytest.mark.usefixtures("quick_retries")
async def test_a_failing_job_is_tried_again_and_ends_in_the_failed_set(
    queue: str, queues: Queues, work: Callable[..., Workers]
) -> None:
    attempts = 0
    finished: list[int] = []

    async def handler(_: dict[str, Any]) -> None:
        nonlocal attempts
        attempts += 1
        raise ValueError("a defect")

    async def finish(outbox_id: int) -> None:
        finished.append(outbox_id)

    work(queue, handler, finish=finish)
    await queues.add(queue, "greet", {}, job_id="doomed", attempts=2, outbox_id=1)

    async def failed() -> bool:
        return await queues.state(queue, "doomed") == "failed"

    await eventually(failed)
    assert attempts == 2
    assert finished == []


@pytest.mark.usefixtures("quick_retries")
async def test_a_job_whose_finish_fails_is_tried_again(
    queue: str, queues: Queues, work: Callable[..., Workers]
) -> None:
    finishes = 0

    async def handler(_: dict[str, Any]) -> None:
        pass

    async def finish(_: int) -> None:
        nonlocal finishes
        finishes += 1
        if finishes == 1:
            raise OSError("the database is away")

    work(queue, handler, finish=finish)
    await queues.add(queue, "greet", {}, job_id="job", outbox_id=1)

    async def completed() -> bool:
        return await queues.state(queue, "job") == "completed"

    await eventually(completed)
    assert finishes == 2


@pytest.mark.usefixtures("quick_retries")
async def test_an_unknown_job_or_a_handler_that_cancels_itself_leaves_the_worker_alive(
    queue: str, queues: Queues, work: Callable[..., Workers]
) -> None:
    async def handler(payload: dict[str, Any]) -> None:
        if payload["cancel"]:
            raise asyncio.CancelledError

    work(queue, handler)
    await queues.add(queue, "unheard-of", {}, job_id="unknown", attempts=1)
    await queues.add(queue, "greet", {"cancel": True}, job_id="cancels", attempts=1)

    async def both_failed() -> bool:
        return [await queues.state(queue, job) for job in ("unknown", "cancels")] == ["failed"] * 2

    await eventually(both_failed)
    await queues.add(queue, "greet", {"cancel": False}, job_id="next")

    async def completed() -> bool:
        return await queues.state(queue, "next") == "completed"

    await eventually(completed)


VICTIM = """
import asyncio, sys
from offerhub.runtime.queue import Workers

async def handler(payload):
    print("began", flush=True)
    await asyncio.sleep(3600)

async def main():
    url, queue, lock_seconds = sys.argv[1:]
    Workers(url, {(queue, "greet"): handler}, {}, lock_seconds=float(lock_seconds)).start()
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_the_job_of_a_killed_process_is_run_by_another(
    queue: str, queues: Queues, redis_url: str, work: Callable[..., Workers]
) -> None:
    await queues.add(queue, "greet", {"to": "Ada"}, job_id="job")
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, redis_url, queue, str(LOCK_SECONDS), stdout=asyncio.subprocess.PIPE
    )
    assert victim.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await victim.stdout.readline() != b"began\n":
            assert not victim.stdout.at_eof()
    victim.send_signal(signal.SIGKILL)
    await victim.communicate()

    ran: list[dict[str, Any]] = []

    async def handler(payload: dict[str, Any]) -> None:
        ran.append(payload)

    work(queue, handler)
    await eventually(lambda: ran == [{"to": "Ada"}])


async def test_closing_lets_a_job_finish_and_leaves_the_others_to_others(
    queue: str, queues: Queues, work: Callable[..., Workers]
) -> None:
    may_end = asyncio.Event()
    ran: list[str] = []
    others: list[str] = []

    async def handler(payload: dict[str, Any]) -> None:
        ran.append(payload["to"])
        await may_end.wait()

    async def other(payload: dict[str, Any]) -> None:
        others.append(payload["to"])

    workers = work(queue, handler)
    await queues.add(queue, "greet", {"to": "Ada"}, job_id="job")
    await eventually(lambda: ran == ["Ada"])
    closing = asyncio.create_task(workers.close(PATIENCE_SECONDS))
    await asyncio.sleep(LOCK_SECONDS * 2)  # time enough for the lock to run out and somebody else to notice
    for n in range(3):
        await queues.add(queue, "greet", {"to": f"Bob {n}"}, job_id=f"job-{n}")
    work(queue, other)
    await eventually(lambda: len(others) >= 3)
    assert not closing.done()
    may_end.set()
    await closing
    assert await queues.state(queue, "job") == "completed"
    assert ran == ["Ada"]
    assert sorted(others) == ["Bob 0", "Bob 1", "Bob 2"]


async def test_closing_cancels_at_the_deadline_and_another_worker_takes_over(
    queue: str, queues: Queues, work: Callable[..., Workers]
) -> None:
    began, cancelled, taken_over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(_: dict[str, Any]) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def successor(_: dict[str, Any]) -> None:
        taken_over.set()

    workers = work(queue, handler)
    await queues.add(queue, "greet", {}, job_id="job")
    await began.wait()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await workers.close(0.05)
    assert cancelled.is_set()
    # It was handed back, and not left to its lock: whoever comes next takes it, with all its attempts.
    assert await queues.state(queue, "job") == "delayed"
    job = await queues.bullmq(queue).getJob("job")
    assert (job.attemptsMade, job.stalledCounter) == (0, 0)
    work(queue, successor)
    await eventually(taken_over.is_set)


async def test_every_failure_is_told_before_the_queue_knows_of_it(
    queue: str, queues: Queues, work: Callable[..., Workers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "BACKOFF_SECONDS", 0.01)
    told: list[tuple[int, bool, str]] = []

    async def handler(_: dict[str, Any]) -> None:
        raise ValueError("a defect")

    async def fail(failure: Failure) -> None:
        assert await queues.state(queue, failure.job_id) == "active"
        told.append((failure.attempt, failure.final, failure.reason))
        if len(told) == 1:
            raise OSError("the database is away")

    work(queue, handler, fail=fail)
    await queues.add(queue, "greet", {}, job_id="doomed", attempts=3)

    async def failed() -> bool:
        return await queues.state(queue, "doomed") == "failed"

    await eventually(failed)
    assert told == [(1, False, "a defect"), (2, False, "a defect"), (3, True, "a defect")]


async def test_what_is_urgent_is_taken_first(queue: str, queues: Queues, work: Callable[..., Workers]) -> None:
    ran: list[str] = []

    async def handler(payload: dict[str, Any]) -> None:
        ran.append(payload["to"])

    for number in range(3):
        await queues.add(queue, "greet", {"to": f"later {number}"}, job_id=f"l{number}", priority=Priority.LATER)
    await queues.add(queue, "greet", {"to": "first"}, job_id="first")
    assert (await queues.counts(queue))["prioritized"] == 3
    work(queue, handler)
    await eventually(lambda: len(ran) == 4)
    assert ran[0] == "first"


async def test_a_queue_keeps_to_its_rate_over_all_workers(
    queue: str, queues: Queues, work: Callable[..., Workers]
) -> None:
    """No span holds more than the limit, so six jobs need three spans of two."""
    began: list[float] = []

    async def handler(_: dict[str, Any]) -> None:
        began.append(asyncio.get_running_loop().time())

    for number in range(6):
        await queues.add(queue, "greet", {}, job_id=f"job-{number}")
    for _ in range(2):
        work(queue, handler, limits={queue: Limit(2, 0.5)})
    await eventually(lambda: len(began) == 6)
    assert began[-1] - began[0] >= 0.9, "three spans were needed"
    assert await queues.depth(queue) == Depth(await queues.counts(queue), False, 1)


async def test_workers_outlive_redis_being_away_at_the_start_and_later(
    queue: str, own_redis: OwnRedis, work: Callable[..., Workers]
) -> None:
    ran: list[str] = []

    async def handler(payload: dict[str, Any]) -> None:
        ran.append(payload["to"])

    work(queue, handler, url=own_redis.url)
    queues = Queues(own_redis.url)
    with pytest.raises(QueueUnavailable):
        await queues.add(queue, "greet", {}, job_id="early")

    await own_redis.start()
    await queues.add(queue, "greet", {"to": "Ada"}, job_id="job-1")
    await eventually(lambda: ran == ["Ada"])

    await own_redis.stop()
    with pytest.raises(QueueUnavailable):
        await queues.state(queue, "job-1")
    await own_redis.start()
    await queues.add(queue, "greet", {"to": "Bob"}, job_id="job-2")
    await eventually(lambda: ran == ["Ada", "Bob"])
    await queues.close()


async def test_workers_close_while_redis_is_away(
    queue: str, own_redis: OwnRedis, work: Callable[..., Workers]
) -> None:
    async def handler(_: dict[str, Any]) -> None:
        pass

    never_connected = work(queue, handler, url=own_redis.url)
    await own_redis.start()
    queues = Queues(own_redis.url)
    connected = work(queue, handler, url=own_redis.url)
    await queues.add(queue, "greet", {}, job_id="job")

    async def completed() -> bool:
        return await queues.state(queue, "job") == "completed"

    await eventually(completed)
    await own_redis.stop()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await connected.close(0.1)
        await never_connected.close(0.1)
    await queues.close()


async def test_adding_gives_up_soon_when_redis_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "ADD_TIMEOUT_SECONDS", 0.05)
    tried = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tried
        tried += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    queues = Queues(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(QueueUnavailable):
            await queues.add("q", "greet", {}, job_id="job")
    await queues.close()
    server.close()
    await server.wait_closed()
    assert tried == 1


async def test_the_url_keeps_user_password_tls_and_database() -> None:
    client = redis_client(
        "rediss://us%40er:p%3Aw@redis.example:6380/3?ssl_cert_reqs=none&socket_timeout=1",
        timeout_seconds=None,
        retry=Retry(NoBackoff(), 0),
    )
    pool = client.connection_pool
    settings = pool.connection_kwargs
    assert pool.connection_class is SSLConnection
    assert (settings["username"], settings["password"], settings["db"]) == ("us@er", "p:w", 3)
    assert (settings["host"], settings["port"], settings["ssl_cert_reqs"]) == ("redis.example", 6380, "none")
    assert settings["socket_timeout"] is None
    await client.aclose()


def test_a_url_that_is_not_redis_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="redis://"):
        Workers("http://redis.example", {}, {})
    with pytest.raises(ValueError, match="redis://"):
        Queues("http://redis.example")

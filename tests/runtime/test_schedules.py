"""Schedules on a real Valkey: once however many look after them, and again after whatever breaks them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from offerhub.runtime.queue import Queues, Workers
from offerhub.runtime.schedules import Schedule, Schedules

PATIENCE_SECONDS = 30
LONG_SECONDS = 3600.0


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def work(redis_url: str, queue: str) -> AsyncIterator[Callable[[list[Any]], Workers]]:
    """Start a process that takes the jobs; it is stopped in the end."""
    started: list[Workers] = []

    def start(ran: list[Any]) -> Workers:
        async def handler(payload: dict[str, Any]) -> None:
            ran.append(payload)

        workers = Workers(redis_url, {(queue, "greet:all"): handler}, {queue: 4})
        workers.start()
        started.append(workers)
        return workers

    yield start
    for workers in started:
        await workers.close(0)


async def completed(queues: Queues, queue: str) -> list[str]:
    """The ids of the jobs that have run."""
    bullmq = queues.bullmq(queue)
    return list(await bullmq.client.zrange(bullmq.keys["completed"], 0, -1))


async def test_each_turn_runs_once_with_two_processes(
    queue: str, queues: Queues, work: Callable[[list[Any]], Workers]
) -> None:
    """Both put the schedule in order, all the time, and both take its jobs."""
    ran: list[Any] = []
    wanted = [Schedule("greet", "greet:all", 0.2, {"to": "all"})]
    for _ in range(2):
        work(ran)
    both = [Schedules(queues, queue, wanted) for _ in range(2)]

    async def enough() -> bool:
        await asyncio.gather(*(one.ensure() for one in both))
        return len(ran) >= 8

    await eventually(enough)
    await both[0].remove_stale()
    await Schedules(queues, queue, []).remove_stale()

    async def settled() -> bool:
        counts = await queues.counts(queue)
        return counts["active"] == counts["waiting"] == counts["delayed"] == 0

    await eventually(settled)
    turns = await completed(queues, queue)
    assert len(turns) == len(ran), "as many turns as runs"
    moments = sorted(int(turn.rsplit(":", 1)[1]) for turn in turns)
    assert all(later - earlier >= 200 for earlier, later in pairwise(moments)), moments
    assert Counter(str(one) for one in ran) == {"{'to': 'all'}": len(ran)}


async def test_a_new_schedule_runs_at_once_and_a_known_one_is_left_alone(
    queue: str, queues: Queues, work: Callable[[list[Any]], Workers]
) -> None:
    ran: list[Any] = []
    work(ran)
    schedules = Schedules(queues, queue, [Schedule("greet", "greet:all", LONG_SECONDS)])
    assert await schedules.ensure() == ["greet"]

    async def once() -> bool:
        return len(ran) == 1

    await eventually(once)
    [planned] = await schedules.planned()
    assert (planned.id, planned.name, planned.every_seconds) == ("greet", "greet:all", LONG_SECONDS)
    assert await schedules.ensure() == []
    assert await Schedules(queues, queue, [Schedule("greet", "greet:all", LONG_SECONDS)]).ensure() == []
    assert await schedules.planned() == [planned], "another process changes nothing"
    assert len(ran) == 1


async def test_what_redis_lost_is_scheduled_again(queue: str, queues: Queues) -> None:
    schedules = Schedules(queues, queue, [Schedule("greet", "greet:all", LONG_SECONDS)])
    await schedules.ensure()
    bullmq = queues.bullmq(queue)
    keys = [key async for key in bullmq.client.scan_iter(f"bull:{queue}:*")]
    await bullmq.client.delete(*keys)
    assert await schedules.planned() == []
    assert await schedules.ensure() == ["greet"]
    assert [one.id for one in await schedules.planned()] == ["greet"]


async def test_a_schedule_without_its_next_job_is_put_in_order(queue: str, queues: Queues) -> None:
    schedules = Schedules(queues, queue, [Schedule("greet", "greet:all", LONG_SECONDS)])
    await schedules.ensure()
    bullmq = queues.bullmq(queue)
    await bullmq.client.delete(bullmq.keys["wait"], bullmq.keys["delayed"])
    assert await schedules.ensure() == ["greet"]
    counts = await queues.counts(queue)
    assert counts["waiting"] + counts["delayed"] == 1


async def test_a_changed_period_counts_and_a_stale_schedule_goes(queue: str, queues: Queues) -> None:
    old = [Schedule("greet", "greet:all", LONG_SECONDS), Schedule("part", "part:all", LONG_SECONDS)]
    await Schedules(queues, queue, old).ensure()
    new = Schedules(queues, queue, [Schedule("greet", "greet:all", 2 * LONG_SECONDS)])
    assert await new.remove_stale() == ["part"]
    assert await new.ensure() == ["greet"]
    assert [(one.id, one.every_seconds) for one in await new.planned()] == [("greet", 2 * LONG_SECONDS)]
    assert await new.ensure() == []
    counts = await queues.counts(queue)
    assert counts["waiting"] + counts["delayed"] == 1


async def test_looking_after_schedules_outlives_an_outage(
    queue: str, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offerhub.runtime.schedules.RETRY_SECONDS", 0.01)
    schedules = Schedules(queues, queue, [Schedule("greet", "greet:all", LONG_SECONDS)])
    away = Queues("redis://127.0.0.1:1/0")
    schedules._queues = away
    keeping = asyncio.create_task(schedules.keep())
    await asyncio.sleep(0.1)
    assert not keeping.done()
    schedules._queues = queues

    async def there() -> bool:
        return [one.id for one in await schedules.planned()] == ["greet"]

    await eventually(there)
    keeping.cancel()
    await asyncio.wait([keeping])
    await away.close()

"""The request budget: no window holds more requests than it allows, whoever counts."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from structlog.testing import capture_logs

from offerhub.kernel.clock import ManualClock, SystemClock
from offerhub.runtime import redis_script
from offerhub.runtime.budget import BudgetSpent, RequestBudget
from offerhub.runtime.urgency import Urgency
from support.outside import PATIENCE_SECONDS

CRITICAL, ORDINARY = Urgency.CRITICAL, Urgency.ORDINARY
LONG = 1000.0
NOWHERE = "redis://127.0.0.1:1/0"


def client_of(url: str) -> "redis.asyncio.Redis":
    return redis.asyncio.Redis.from_url(url, socket_timeout=5, retry=Retry(NoBackoff(), 0))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is waited for: what happens without it is shown with a client that has none."""
    monkeypatch.setattr(redis_script, "ANSWER_SECONDS_MAX", 5.0)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    made = client_of(redis_url)
    yield made
    await made.aclose()


@pytest.fixture
def key() -> str:
    """A budget that no other test spends."""
    return f"budget:test-{secrets.token_hex(6)}"


# -- one process -------------------------------------------------------------------------------------------------


async def test_no_window_ever_holds_more_than_the_budget() -> None:
    clock = ManualClock()
    budget = RequestBudget(clock, requests_max=3, window_seconds=60)
    sent = []
    for pause in (0, 10, 10, 0, 0, 0, 45, 0):
        clock.advance(pause)
        await budget.take(CRITICAL, LONG)
        sent.append(clock.monotonic())
    assert sent[:3] == [0, 10, 20]
    # The window is kept a little longer than it is, for the way to the provider.
    assert sent[3:6] == [61, 71, 81]
    assert all(later - earlier >= 60 for earlier, later in zip(sent, sent[3:], strict=False))


async def test_a_share_is_kept_for_critical_requests() -> None:
    clock = ManualClock()
    budget = RequestBudget(clock, requests_max=50, window_seconds=60)
    for _ in range(40):
        await budget.take(ORDINARY, 0.5)
    with pytest.raises(BudgetSpent):
        await budget.take(ORDINARY, 0.5)
    for _ in range(10):
        await budget.take(CRITICAL, 0.0)
    with pytest.raises(BudgetSpent):
        await budget.take(CRITICAL, 60)
    assert clock.monotonic() == 0, "nobody waited for what could not come in time"
    await budget.take(CRITICAL, 61)
    assert clock.monotonic() == 61


async def test_ordinary_requests_wait_behind_what_is_reserved() -> None:
    clock = ManualClock()
    budget = RequestBudget(clock, requests_max=2, window_seconds=10)
    await budget.take(CRITICAL, 0.0)
    await budget.take(CRITICAL, 0.0)
    ordinary = asyncio.create_task(budget.take(ORDINARY, LONG))
    await asyncio.sleep(0)
    await asyncio.gather(budget.take(CRITICAL, LONG), ordinary)
    assert clock.monotonic() >= 10.5


# -- all processes together --------------------------------------------------------------------------------------


async def test_two_processes_share_one_budget(redis_url: str, client: "redis.asyncio.Redis", key: str) -> None:
    """Redis' own record of what it counted is the evidence: when each request was let out, by its clock."""
    limit, window_seconds = 5, 0.4
    processes = [client_of(redis_url) for _ in range(2)]
    budgets = [
        RequestBudget(SystemClock(), requests_max=limit, window_seconds=window_seconds, client=one, key=key)
        for one in processes
    ]
    counted: list[int] = []
    async with client.monitor() as monitor:

        async def watch() -> None:
            async for heard in monitor.listen():
                words = heard["command"].split()
                if words[0].upper() == "LPUSH" and words[1] == key:
                    counted.append(int(words[2]))

        watching = asyncio.create_task(watch())
        urgencies = [CRITICAL, CRITICAL, ORDINARY]
        await asyncio.gather(*(budgets[n % 2].take(urgencies[n % 3], LONG) for n in range(24)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(counted) < 24:
                await asyncio.sleep(0.01)
        watching.cancel()
    assert counted == sorted(counted), "in order of arrival"
    spans = [later - earlier for earlier, later in zip(counted, counted[limit:], strict=False)]
    assert min(spans) >= window_seconds * 1_000_000
    assert [budget.counted_alone for budget in budgets] == [0, 0]
    for process in processes:
        await process.aclose()


async def test_sixty_seconds_hold_fifty_of_all_processes_together(redis_url: str, key: str) -> None:
    processes = [client_of(redis_url) for _ in range(3)]
    budgets = [
        RequestBudget(SystemClock(), requests_max=50, window_seconds=60, client=one, key=key) for one in processes
    ]
    outcomes = await asyncio.gather(*(budgets[n % 3].take(CRITICAL, 5.0) for n in range(60)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(BudgetSpent) == 10
    assert outcomes.count(None) == 50
    for process in processes:
        await process.aclose()


async def test_reservations_are_first_come_first_served(client: "redis.asyncio.Redis", key: str) -> None:
    """The clock stands still: what each would wait for is what Redis answered."""
    clocks = [ManualClock() for _ in range(5)]
    waits = []
    for clock in clocks:
        # A process of its own each, so that only Redis knows of the others.
        await RequestBudget(clock, requests_max=1, window_seconds=100, client=client, key=key).take(CRITICAL, LONG)
        waits.append(clock.monotonic())
    assert waits[0] == 0
    assert all(99 < later - earlier <= 101 for earlier, later in pairwise(waits))


async def test_the_record_does_not_outlive_its_use(client: "redis.asyncio.Redis", key: str) -> None:
    budget = RequestBudget(ManualClock(), requests_max=2, window_seconds=10, client=client, key=key)
    for _ in range(5):
        await budget.take(CRITICAL, LONG)
    assert await client.llen(key) == 2
    assert 0 < await client.pttl(key) <= 33_000


async def test_a_clock_that_was_set_back_does_not_block_for_ever(client: "redis.asyncio.Redis", key: str) -> None:
    await client.lpush(key, str(4_102_444_800 * 1_000_000))
    budget = RequestBudget(ManualClock(), requests_max=2, window_seconds=10, client=client, key=key)
    await budget.take(ORDINARY, 0.5)
    assert await client.llen(key) == 1


async def test_without_redis_each_process_counts_for_itself() -> None:
    clock = ManualClock()
    client = client_of(NOWHERE)
    budget = RequestBudget(clock, requests_max=2, window_seconds=60, client=client, key="budget:nobody")
    with capture_logs() as logs:
        for _ in range(3):
            await budget.take(CRITICAL, LONG)
    assert clock.monotonic() == 61
    assert budget.counted_alone == 3
    assert [line["event"] for line in logs].count("budget_not_shared") >= 1
    await client.aclose()


async def test_an_emptied_redis_does_not_let_a_process_forget_its_own(
    client: "redis.asyncio.Redis", key: str
) -> None:
    clock = ManualClock()
    budget = RequestBudget(clock, requests_max=2, window_seconds=60, client=client, key=key)
    await budget.take(CRITICAL, 0.0)
    await budget.take(CRITICAL, 0.0)
    await client.delete(key)
    await budget.take(CRITICAL, 0.0)
    assert clock.monotonic() == 61

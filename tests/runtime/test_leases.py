"""Leases against a real PostgreSQL: one holder at a time, failover, fencing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from offerhub.runtime import leases
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.leases import Lease, LeaseLost, LeaseToken

LONG_SECONDS = 3600.0
PATIENCE_SECONDS = 30


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(fresh_database_url)
    yield database
    await database.close()


@dataclass
class Replica:
    """A replica that notes its terms and whether it is at work."""

    terms: list[int] = field(default_factory=list)
    at_work: bool = False

    async def work(self, token: LeaseToken) -> None:
        self.terms.append(token.number)
        self.at_work = True
        try:
            await asyncio.Event().wait()
        finally:
            self.at_work = False


@contextlib.asynccontextmanager
async def holding(lease: Lease, replica: Replica) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(lease.hold(replica.work))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def put(database: Database, token: int, seconds: float, holder: str = "somebody") -> None:
    """The row as another holder would have left it."""
    await database.run(
        lambda tx: tx.execute(
            "INSERT INTO leases (name, holder, token, held_until)"
            " VALUES ('watcher', $1, $2, clock_timestamp() + make_interval(secs => $3))"
            " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = excluded.token,"
            " held_until = excluded.held_until",
            holder,
            token,
            seconds,
        )
    )


async def held_until(database: Database) -> float:
    sql = "SELECT extract(epoch FROM held_until)::float8 FROM leases WHERE name = 'watcher'"
    found = await database.run(lambda tx: tx.value(sql))
    assert isinstance(found, float)
    return found


async def renewed_until(database: Database, moment: float) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if await held_until(database) > moment:
                return
            await asyncio.sleep(0.05)


async def somebody_waits_for_a_lock(database: Database) -> None:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if await database.run(lambda tx: tx.value(sql)):
                return
            await asyncio.sleep(0.01)


async def test_one_of_many_works_and_a_clean_stop_lets_the_next_in_at_once(database: Database) -> None:
    replicas = [Replica() for _ in range(4)]
    # The lease is so long that only giving it back lets anybody else in.
    tasks = [
        asyncio.create_task(Lease(database, "watcher", f"r{n}", LONG_SECONDS).hold(replica.work))
        for n, replica in enumerate(replicas)
    ]
    terms = []
    for _ in range(4):
        await eventually(lambda: any(replica.at_work for replica in replicas))
        working = [n for n, replica in enumerate(replicas) if replica.at_work]
        assert len(working) == 1
        terms += replicas[working[0]].terms
        tasks[working[0]].cancel()
        await asyncio.wait({tasks[working[0]]})
        assert tasks[working[0]].cancelled()
        assert not replicas[working[0]].at_work
    assert terms == [1, 2, 3, 4]


async def test_a_crashed_holder_is_succeeded_when_its_lease_ends(database: Database) -> None:
    await put(database, token=7, seconds=0.5)
    replica = Replica()
    async with holding(Lease(database, "watcher", "me", 0.9), replica):
        await eventually(lambda: replica.at_work)
    assert replica.terms == [8]


async def test_a_living_holder_renews(database: Database) -> None:
    replica, rival = Replica(), Replica()
    async with holding(Lease(database, "watcher", "me", 3), replica):
        await eventually(lambda: replica.at_work)
        first = await held_until(database)
        async with holding(Lease(database, "watcher", "rival", 3), rival):
            await renewed_until(database, first + 1.5)  # twice
            assert replica.at_work
            assert rival.terms == []
    assert replica.terms == [1]


async def test_work_is_cancelled_when_the_lease_was_taken_by_another(database: Database) -> None:
    replica = Replica()
    async with holding(Lease(database, "watcher", "me", 0.9), replica) as task:
        await eventually(lambda: replica.at_work)
        await put(database, token=2, seconds=LONG_SECONDS, holder="thief")
        await eventually(lambda: not replica.at_work)
        assert not task.done()
    # Neither renewed nor released what was not ours any more.
    holder = await database.run(lambda tx: tx.value("SELECT holder FROM leases WHERE held_until > now()"))
    assert holder == "thief"


async def test_work_is_cancelled_while_the_database_hangs(database: Database) -> None:
    replica = Replica()
    async with holding(Lease(database, "watcher", "me", 0.9), replica):
        await eventually(lambda: replica.at_work)

        async def hang(tx: Tx) -> None:
            await tx.execute("SELECT FROM leases WHERE name = 'watcher' FOR UPDATE")
            await eventually(lambda: not replica.at_work)

        await database.run(hang)
        await eventually(lambda: replica.at_work)
    assert replica.terms == [1, 2]


async def test_failing_and_returning_work_give_the_lease_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "REST_SECONDS", 0.0)
    terms: list[int] = []

    async def work(token: LeaseToken) -> None:
        terms.append(token.number)
        if token.number == 1:
            raise ValueError("a defect")

    task = asyncio.create_task(Lease(database, "watcher", "me", LONG_SECONDS).hold(work))
    await eventually(lambda: len(terms) >= 3)
    task.cancel()
    await asyncio.wait({task})
    assert terms[:3] == [1, 2, 3]


async def test_a_closed_database_is_waited_out(
    database: Database, fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "POLL_SECONDS_MAX", 0.01)
    gone = await Database.connect(fresh_database_url)
    lease = Lease(gone, "watcher", "me")
    await gone.close()
    replica = Replica()
    async with holding(lease, replica) as task:
        await asyncio.sleep(0.1)
        assert not task.done()
        lease._database = database
        await eventually(lambda: replica.at_work)


async def test_the_token_fences_off_a_holder_that_woke_up_late(database: Database) -> None:
    await put(database, token=5, seconds=LONG_SECONDS)
    await database.run(LeaseToken("watcher", 5).fence)
    with pytest.raises(LeaseLost):
        await database.run(LeaseToken("watcher", 4).fence)


async def test_nobody_takes_the_lease_during_a_fenced_transaction(database: Database) -> None:
    await put(database, token=5, seconds=-1)
    rival = Replica()

    async def write_late(tx: Tx) -> asyncio.Task[None]:
        await LeaseToken("watcher", 5).fence(tx)
        task = asyncio.create_task(Lease(database, "watcher", "rival", 0.9).hold(rival.work))
        await somebody_waits_for_a_lock(database)
        assert rival.terms == []
        return task

    task = await database.run(write_late)
    await eventually(lambda: rival.terms == [6])
    task.cancel()
    await asyncio.wait({task})


async def test_a_cancelled_replica_stops_whatever_it_is_doing(database: Database) -> None:
    # Before, during and after the taking.
    for round_ in range(60):
        replicas = [asyncio.create_task(Lease(database, "watcher", "me", 0.9).hold(Replica().work)) for _ in range(3)]
        await asyncio.sleep(0.0002 * round_)
        for replica in replicas:
            replica.cancel()
        _, left = await asyncio.wait(replicas, timeout=PATIENCE_SECONDS)
        assert not left

"""One run of one flow in a process of its own, which begins as a copy of the zygote (`zygote.py`).

A task says which flow, about what, and what happens to the process: it is killed at a point; or it comes after one
that was killed, and finishes what that left; or an error happens in it at a statement, and it goes on by itself.
"""

import asyncio
import traceback
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import asyncpg

from faults.processes.desk import DONE_SECONDS, PASSING, Desk, desk
from faults.processes.flows import FLOWS, Flow, Thing
from faults.processes.fuse import Faulty, Fuse
from faults.processes.time_passes import MOMENT_SECONDS, Time, passing_time
from offerhub.reconciliation import jobs
from offerhub.runtime import database

BATCH: Final = 3
"""How many wallets, top-ups or payouts a job looks at."""


@dataclass(frozen=True)
class Task:
    """What a process does. `after` is the process that died before it."""

    flow: str
    thing: Thing
    environ: Mapping[str, str]
    credential: str
    kill_at: int = 0
    error: str = ""
    error_at: int = 0
    after: int = 0


@dataclass
class Report:
    """What it did. `signal` ended it, if any did. `failure` is the trace of what must never happen."""

    points: int = 0
    statements: int = 0
    told: list[str] = field(default_factory=list)
    blown_at: str = ""
    failure: str = ""
    signal: int = 0
    pid: int = 0


def run(task: Task) -> dict[str, Any]:
    """Do it; a Report as JSON."""
    report = Report()
    try:
        asyncio.run(_run(task, report))
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        report.failure = traceback.format_exc()
    return asdict(report)


async def _run(task: Task, report: Report) -> None:
    fuse = Fuse(task.kill_at, task.error, task.error_at)
    flow = FLOWS[task.flow]
    # A job that looks at few, without a pause between two, does with these what it does with many.
    jobs.PAUSE_SECONDS, jobs.DEPOSITS_WALLETS, jobs.AIRTM_BATCH = 0.0, BATCH, BATCH  # type: ignore[misc]
    _make_faulty(task.environ["DATABASE_URL"], fuse)
    time: Time | None = None
    async with AsyncExitStack() as stack:
        if task.error or task.after:
            time = await stack.enter_async_context(passing_time(task.environ["DATABASE_URL"]))
            await time.end_leases(task.after)
            await time.look_again(task.thing["mark"])
        at = await stack.enter_async_context(desk(task.environ, task.credential, fuse))
        report.told = at.told
        fuse.is_armed = True
        try:
            await _insist(at, flow, task.thing, time)
        finally:
            fuse.is_armed = False
            report.points, report.statements, report.blown_at = fuse.points, fuse.statements, fuse.blown_at
        async with asyncio.timeout(DONE_SECONDS):
            await at.settle(flow.subject, task.thing["mark"])
        # Once more, with the same keys: nothing may come of it.
        await flow.act(at, task.thing)


def _make_faulty(url: str, fuse: Fuse) -> None:
    async def end(pid: int) -> None:
        session = await asyncpg.connect(url)
        try:
            assert await session.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
        finally:
            await session.close()

    Faulty.fuse, Faulty.end = fuse, end
    database._Connection = Faulty  # type: ignore[misc]


async def _insist(at: Desk, flow: Flow, thing: Thing, time: Time | None) -> None:
    """As clients and workers do: again, with the same key, until there is an end."""
    async with asyncio.timeout(DONE_SECONDS):
        while True:
            try:
                return await flow.act(at, thing)
            except PASSING:
                await asyncio.sleep(MOMENT_SECONDS)
                if time is not None and flow.alone:
                    await time.look_again(thing["mark"])
                    await time.end_runs()

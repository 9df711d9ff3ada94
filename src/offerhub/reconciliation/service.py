"""Use cases of reconciliation: run a job, ask for a run, list runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import structlog

from offerhub.access.service import is_operator, require_operator
from offerhub.errors import NotFound
from offerhub.events.journal import AuditEntry, Job, record
from offerhub.kernel.clock import Clock
from offerhub.kernel.pages import Page
from offerhub.reconciliation import store
from offerhub.reconciliation.model import Outcome, ReconciliationJob, Run, RunsQuery
from offerhub.runtime.actor import Actor
from offerhub.runtime.cancellation import end
from offerhub.runtime.database import UNREACHABLE, Database, Tx
from offerhub.runtime.jobs import Handler, Priority
from offerhub.runtime.redaction import scrub
from offerhub.runtime.schedules import Schedule

QUEUE: Final = "reconciliation"
LEASE_SECONDS: Final = 20.0
"""How long a run whose process died keeps others out; renewed at a quarter of it while the process lives."""
QUEUED_SECONDS_MAX: Final = 3600.0
RUNS_KEPT_SECONDS: Final = 30 * 24 * 3600.0
PURGE_BATCH: Final = 1_000
FAILURE_CHARACTERS_MAX: Final = 500

log = structlog.get_logger("offerhub.reconciliation")


class Reconciliation:
    """The jobs of this installation and their runs. No two runs of one job are open at a time."""

    def __init__(self, database: Database, clock: Clock, jobs: Sequence[ReconciliationJob]) -> None:
        self._database = database
        self._clock = clock
        self._jobs: Mapping[str, ReconciliationJob] = {job.type: job for job in jobs}

    def schedules(self) -> list[Schedule]:
        """What runs by the clock."""
        return [
            Schedule(job.schedule_id, job.name, job.every_seconds) for job in self._jobs.values() if job.scheduled
        ]

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """What runs the jobs of the queue."""
        return {(QUEUE, job.name): self._handler(job) for job in self._jobs.values()}

    def _handler(self, job: ReconciliationJob) -> Handler:
        async def handle(payload: dict[str, Any]) -> None:
            await self.run(job, payload.get("runId"))

        return handle

    async def request(self, tx: Tx, actor: Actor, job_type: str) -> tuple[Run, bool]:
        """Ask for a run now: the new run and True, or the one that is open already and False.

        Raises NotFound for a job that this installation does not have, and for whoever is no operator.
        """
        job = self._jobs.get(job_type)
        if job is None or not is_operator(actor):
            raise NotFound("There is no such reconciliation job.")
        await store.abandon(tx, job.type, QUEUED_SECONDS_MAX)
        fresh = await store.enqueue(tx, job.type, actor.credential_id)
        if fresh is None:
            running = await store.open_run(tx, job.type)
            # Between the two statements it may have ended.
            return (running, False) if running else await self.request(tx, actor, job_type)
        entry = AuditEntry("RECONCILIATION_REQUESTED", "ReconciliationRun", fresh.id, after={"job": job.type})
        asked = Job(QUEUE, job.name, {"runId": fresh.id}, priority=Priority.LATER)
        await record(tx, actor, audit=[entry], jobs=[asked])
        return fresh, True

    async def run(self, job: ReconciliationJob, run_id: str | None = None) -> None:
        """Run a job: the run that was asked for, or a new one by the clock. Nothing while another run is open.

        Raises whatever the work raises, after it has been noted; the queue then tries again.
        """

        async def begin(tx: Tx) -> str | None:
            await store.abandon(tx, job.type, QUEUED_SECONDS_MAX, but=run_id)
            if run_id is None:
                return await store.begin_scheduled(tx, job.type, LEASE_SECONDS)
            return await store.begin_requested(tx, run_id, LEASE_SECONDS)

        begun = await self._database.run(begin)
        if begun is None:
            log.info("reconciliation_skipped", job=job.type, run_id=run_id)
            return
        try:
            async with self._alive(begun):
                started = self._clock.monotonic()
                outcome = await job.work()
        except Exception as error:
            failure = scrub(f"{type(error).__name__}: {error}")[:FAILURE_CHARACTERS_MAX]
            await self._database.run(lambda tx: store.fail(tx, begun, failure))
            raise
        await self._database.run(lambda tx: store.succeed(tx, begun, outcome))
        _tell(job, begun, outcome, self._clock.monotonic() - started)

    @contextlib.asynccontextmanager
    async def _alive(self, run_id: str) -> AsyncIterator[None]:
        """Renew the run's lease while the block runs."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE_SECONDS / 4)
                with contextlib.suppress(*UNREACHABLE):
                    await self._database.run(lambda tx: store.renew(tx, run_id, LEASE_SECONDS))

        heart = asyncio.create_task(renew(), name=f"run {run_id}")
        try:
            yield
        finally:
            await end(heart)


def _tell(job: ReconciliationJob, run_id: str, outcome: Outcome, seconds: float) -> None:
    level = log.error if outcome.discrepancies else log.info
    level(
        "reconciliation_done",
        job=job.type,
        run_id=run_id,
        checked=outcome.checked,
        changed=outcome.changed,
        discrepancies=outcome.discrepancies,
        errors=outcome.errors,
        seconds=round(seconds, 3),
    )


async def runs(tx: Tx, actor: Actor, query: RunsQuery) -> Page:
    """One page of runs, the newest first. Raises InsufficientScope for whoever is no operator."""
    require_operator(actor)
    return await store.list_runs(tx, query)


async def latest(tx: Tx) -> dict[str, Run]:
    """Job to its latest run."""
    return await store.latest(tx)


async def purge(tx: Tx) -> int:
    """Forget a batch of runs that ended more than thirty days ago; returns how many."""
    return await store.purge(tx, RUNS_KEPT_SECONDS, PURGE_BATCH)

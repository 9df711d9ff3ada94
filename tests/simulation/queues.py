"""The queue in place of Redis: it forgets jobs, doubles them and runs them in any order, as it may (design 8).

PostgreSQL's outbox is the truth; the product's own relay hands its rows over to this queue, and its own dead letters
keep what fails for good.
"""

import asyncio
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from offerhub.runtime.jobs import Failure, Handler, Priority, State
from offerhub.runtime.queue import ATTEMPTS_MAX, BACKOFF_SECONDS, LOCK_SECONDS, Queues, QueueUnavailable, job_data
from simulation.chance import Chance
from simulation.clock import EPOCH_SECONDS
from simulation.loop import HOST, Host, SimulatedLoop
from simulation.trace import Trace

WORKERS: Final = 6
ADD_SECONDS_MAX: Final = 0.005
UNREACHABLE_SHARE: Final = 0.2
"""Of the jobs that go wrong, those at which the queue does not answer."""


@dataclass(eq=False)
class Job:
    """A job as the queue knows it."""

    queue: str
    name: str
    id: str
    data: dict[str, Any]
    created: float
    state: State = "waiting"
    attempts: int = 0
    taken_by: Host | None = None


class Bull:
    """All queues, for all processes."""

    def __init__(self, loop: SimulatedLoop, chance: Chance, trace: Trace) -> None:
        self._loop = loop
        self._chance = chance
        self._trace = trace
        self.is_calm = True
        self.jobs: dict[tuple[str, str], Job] = {}
        self._waiting: list[Job] = []
        self._bell = asyncio.Event()

    def put(self, job: Job) -> None:
        """It waits for a worker; once more than once, perhaps."""
        drawn, rates = self._chance.faults, self._chance.rates
        job.state = "waiting"
        if not self.is_calm and drawn.random() < rates.jobs_lost:
            self._trace.count("jobs forgotten")
            self.jobs.pop((job.queue, job.id), None)
            return
        self._waiting.append(job)
        if not self.is_calm and drawn.random() < rates.jobs_doubled:
            self._trace.count("jobs doubled")
            self._waiting.append(job)
        self._bell.set()
        self._bell = asyncio.Event()

    def put_later(self, job: Job, seconds: float) -> None:
        """It waits after a while."""
        job.state = "delayed"

        async def wait() -> None:
            await asyncio.sleep(seconds)
            self.put(job)

        self._loop.spawn(wait(), None)

    async def take(self) -> Job:
        """Any job that waits."""
        while not self._waiting:
            await self._bell.wait()
        job = self._waiting.pop(int(self._chance.order.random() * len(self._waiting)))
        job.state, job.taken_by = "active", HOST.get()
        return job

    def stalled(self, host: Host) -> None:
        """A worker's process is dead: what it had is run again after a while."""
        for job in list(self.jobs.values()):
            if job.state == "active" and job.taken_by is host:
                self.put_later(job, LOCK_SECONDS)


class SimulatedQueues(Queues):
    """What the product's relay adds to."""

    def __init__(self, bull: Bull, loop: SimulatedLoop, chance: Chance) -> None:
        self._bull = bull
        self._loop = loop
        self._chance = chance

    async def add(
        self,
        queue: str,
        name: str,
        payload: Mapping[str, Any],
        *,
        job_id: str,
        delay_seconds: float = 0,
        attempts: int = ATTEMPTS_MAX,
        priority: int = Priority.FIRST,
        outbox_id: int | None = None,
        traceparent: str | None = None,
    ) -> None:
        """As `Queues.add`; nobody traces here."""
        drawn, fails = self._chance.faults, 0.0
        if not self._bull.is_calm:
            fails = self._chance.rates.jobs_lost * UNREACHABLE_SHARE
        await asyncio.sleep(drawn.random() * ADD_SECONDS_MAX)
        if drawn.random() < fails:
            raise QueueUnavailable("not reached")
        if (queue, job_id) not in self._bull.jobs:
            job = Job(queue, name, job_id, job_data(payload, outbox_id), self._loop.time())
            self._bull.jobs[queue, job_id] = job
            self._bull.put(job)
        if drawn.random() < fails:
            raise QueueUnavailable("no answer")

    async def state(self, queue: str, job_id: str) -> State:
        """As `Queues.state`."""
        await asyncio.sleep(0)
        job = self._bull.jobs.get((queue, job_id))
        return "unknown" if job is None else job.state

    async def is_paused(self, queue: str) -> bool:
        """As `Queues.is_paused`; nobody pauses here."""
        del queue
        await asyncio.sleep(0)
        return False

    async def close(self) -> None:
        """There is nothing to close."""


async def work(bull: Bull, handlers: Mapping[tuple[str, str], Handler], finish: Any, fail: Any) -> None:
    """A worker of one process, until that dies."""
    while True:
        job = await bull.take()
        try:
            await handlers[job.queue, job.name](job.data["payload"])
            if job.data["outboxId"] is not None:
                await finish(job.data["outboxId"])
            job.state = "completed"
        except Exception as error:  # noqa: BLE001 - whatever a handler raises makes the job be tried again
            await _failed(bull, job, error, fail)


async def _failed(bull: Bull, job: Job, error: Exception, fail: Any) -> None:
    job.attempts += 1
    final = job.attempts >= ATTEMPTS_MAX
    trace = "".join(traceback.format_exception_only(error))
    created = round((EPOCH_SECONDS + job.created) * 1000)
    failure = Failure(job.queue, job.id, job.name, job.data, job.attempts, final, repr(error), trace, created)
    try:
        await fail(failure)
    except Exception:  # noqa: BLE001 - the database is away: nobody knows of this failure, as in the real worker
        final = False
    job.state = "failed"
    if not final:
        bull.put_later(job, BACKOFF_SECONDS * 2.0 ** (job.attempts - 1))

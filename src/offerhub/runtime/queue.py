"""Jobs on BullMQ: `Queues` adds them, `Workers` runs them (design 8).

A job's data, as Node workers and Bull Board see it, is always
`{"outboxId": 17, "payload": {...}}`; `outboxId` is null for a job that did not come through the outbox. Its id is
`outbox-17`, or `outbox-17-2` for the second hand-over of the same row. A foreign worker takes `payload` and needs to
do nothing about `outboxId`: the relay clears the row once it sees that the job is completed.

A worker that dies is replaced within five seconds: its lock on the job runs out after `LOCK_SECONDS`, and the check
for such jobs runs four times as often. A job can therefore run twice, and handlers must be idempotent.
Jobs that fail at every attempt stay in the queue's failed set, the dead letters, until an operator acts.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, Literal

import redis.asyncio as redis
import structlog
from bullmq import Job, Queue, Worker  # type: ignore[import-untyped]
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import RedisError

from offerhub.kernel.chance import jitter

log = structlog.stdlib.get_logger(__name__)

Handler = Callable[[dict[str, Any]], Awaitable[None]]
"""Runs one job, given its payload; whatever it raises makes the job be tried again."""
Finish = Callable[[int], Awaitable[None]]
"""Told the outbox id of a job whose handler has succeeded."""
State = Literal["waiting", "active", "delayed", "completed", "failed", "prioritized", "waiting-children", "unknown"]

PREFIX: Final = "bull"
COUNTED: Final = ("waiting", "active", "completed", "failed", "delayed", "prioritized")
ATTEMPTS_MAX: Final = 5
BACKOFF_SECONDS: Final = 3.0
"""Doubles with every attempt: five attempts reach over about 45 s, longer than a database takes to restart."""
COMPLETED_KEPT: Final = 1000
ADD_TIMEOUT_SECONDS: Final = 2.0
LOCK_SECONDS: Final = 4.0
STALLS_MAX: Final = 5
"""How often a job may lose its worker before it counts as the cause and fails."""
CONCURRENCY_DEFAULT: Final = 10
RECONNECT_SECONDS_MAX: Final = 2.0
FETCH_GRACE_SECONDS: Final = 0.5
CANCEL_ROUNDS_MAX: Final = 10


class QueueUnavailable(Exception):
    """Redis could not be asked; whether the job was added is unknown, adding it again under its id is safe."""


def redis_client(url: str, *, timeout_seconds: float | None, retry: Retry) -> "redis.Redis":
    """A pooled client for a `redis://`, `rediss://` or `unix://` URL with user, password, database and options.

    `timeout_seconds` bounds connecting and every answer; None waits for ever, as blocking reads must. Our own
    settings win over those in the URL's query.
    """
    settings: dict[str, Any] = {
        **parse_url(url),
        "decode_responses": True,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds or ADD_TIMEOUT_SECONDS,
        "retry": retry,
    }
    return redis.Redis.from_pool(ConnectionPool(**settings))


@contextlib.contextmanager
def reaching(queue: str) -> Iterator[None]:
    """Whatever Redis fails with becomes QueueUnavailable."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise QueueUnavailable(f"{queue}: {error}") from error


def job_data(payload: Mapping[str, Any], outbox_id: int | None = None) -> dict[str, Any]:
    """A job's data as it is laid out in Redis."""
    return {"outboxId": outbox_id, "payload": dict(payload)}


class Queues:
    """Adds jobs, over one client that fails fast: it never retries, as the outbox does that.

    Raises ValueError when the URL is not one of Redis.
    """

    def __init__(self, redis_url: str, prefix: str = PREFIX) -> None:
        self._client = redis_client(redis_url, timeout_seconds=ADD_TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0))
        self._prefix = prefix
        self._queues: dict[str, Any] = {}

    async def add(
        self,
        queue: str,
        name: str,
        payload: Mapping[str, Any],
        *,
        job_id: str,
        delay_seconds: float = 0,
        attempts: int = ATTEMPTS_MAX,
        outbox_id: int | None = None,
    ) -> None:
        """Add a job, unless the queue still has one with this id. Raises QueueUnavailable.

        A job id must not be a bare number nor contain a colon (BullMQ's own rule).
        """
        # The jitter is drawn per job, so that a Node worker, too, spreads the jobs that failed together.
        backoff_ms = round(jitter(BACKOFF_SECONDS) * 1000)
        options = {
            "jobId": job_id,
            "delay": round(delay_seconds * 1000),
            "attempts": attempts,
            "backoff": {"type": "exponential", "delay": backoff_ms},
            "removeOnComplete": {"count": COMPLETED_KEPT},
            "removeOnFail": False,
        }
        with reaching(queue):
            await self.bullmq(queue).add(name, job_data(payload, outbox_id), options)

    async def state(self, queue: str, job_id: str) -> State:
        """Where the job is now; `unknown` when the queue has no such job. Raises QueueUnavailable."""
        with reaching(queue):
            state: State = await self.bullmq(queue).getJobState(job_id)
        return state

    async def counts(self, queue: str) -> dict[str, int]:
        """How many jobs the queue has in each of COUNTED. Raises QueueUnavailable."""
        with reaching(queue):
            found: dict[str, int] = await self.bullmq(queue).getJobCounts(*COUNTED)
        return {state: int(found[state]) for state in COUNTED}

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def bullmq(self, name: str) -> Any:
        """BullMQ's own queue, for the other modules that look after jobs; call it inside `reaching`."""
        if name not in self._queues:
            self._queues[name] = Queue(name, {"connection": self._client, "prefix": self._prefix})
        return self._queues[name]


class Workers:
    """One BullMQ worker per queue that has a handler; survives that Redis is away, at the start and later."""

    def __init__(
        self,
        redis_url: str,
        handlers: Mapping[tuple[str, str], Handler],
        concurrency: Mapping[str, int],
        *,
        finish: Finish | None = None,
        prefix: str = PREFIX,
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        """`handlers` by (queue, job name); `concurrency` is jobs at a time by queue, 10 where it says nothing.

        `finish` is normally `Relay.finish`. A job is complete only when it has returned, too. Raises ValueError
        when the URL is not one of Redis.
        """
        parse_url(redis_url)  # here, and not first in a background task
        self._redis_url = redis_url
        self._handlers = dict(handlers)
        self._concurrency = dict(concurrency)
        self._finish = finish
        self._prefix = prefix
        self._lock_seconds = lock_seconds
        self._workers: dict[str, Any] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._jobs: set[asyncio.Task[Any]] = set()
        self._closing = False

    def start(self) -> None:
        """Begin to take jobs, now or as soon as Redis is there. Needs a running event loop."""
        assert not self._keepers, "started twice"
        queues = sorted({queue for queue, _ in self._handlers})
        self._keepers = [asyncio.create_task(self._keep(queue), name=f"queue {queue}") for queue in queues]

    async def close(self, deadline_seconds: float) -> None:
        """Take no more jobs, let those that run finish, and cancel them after `deadline_seconds`.

        A cancelled job is run again by another worker.
        """
        self._closing = True
        deadline = _monotonic() + deadline_seconds
        workers = list(self._workers.values())
        for worker in workers:
            # Paused first: BullMQ's own close stops renewing the locks of jobs that still run.
            await worker.pause(do_not_wait_active=True)
        while self._jobs and _monotonic() < deadline:
            await asyncio.wait(self._jobs, timeout=deadline - _monotonic())
        closing = [asyncio.ensure_future(worker.close()) for worker in workers]
        if closing:
            await asyncio.wait(closing, timeout=FETCH_GRACE_SECONDS)
        for worker in workers:
            if not worker.closed:
                await worker.close(force=True)
        left: set[asyncio.Future[Any]] = {*closing, *self._keepers}
        for _ in range(CANCEL_ROUNDS_MAX):
            for keeper in self._keepers:
                keeper.cancel()
            if left:
                _, left = await asyncio.wait(left, timeout=FETCH_GRACE_SECONDS)
            if not left:
                return
            # A cancellation may have been swallowed by a driver (see `database.heed_cancellation`).
            for worker in workers:
                worker.cancelProcessing()
        log.error("queue.not_closed", tasks=len(left))

    async def _keep(self, queue: str) -> None:
        """Run the queue's worker; should its loop ever end, run a new one."""
        failures = 0
        while not self._closing:
            client = redis_client(
                self._redis_url, timeout_seconds=None, retry=Retry(ExponentialBackoff(cap=1, base=0.1), 3)
            )
            try:
                await client.ping()
                failures = 0
                if not self._closing:
                    await self._work(queue, client)
            except (RedisError, OSError) as error:
                log.warning("queue.unreachable", queue=queue, error=repr(error))
            finally:
                await client.aclose()
            failures += 1
            wait_seconds = min(0.1 * 2 ** min(failures, 10), RECONNECT_SECONDS_MAX)
            await asyncio.sleep(jitter(wait_seconds))

    async def _work(self, queue: str, client: "redis.Redis") -> None:
        async def process(job: Job, _: str) -> None:
            await self._process(queue, job)

        lock_ms = round(self._lock_seconds * 1000)
        options = {
            "connection": client,
            "prefix": self._prefix,
            "autorun": False,
            "concurrency": self._concurrency.get(queue, CONCURRENCY_DEFAULT),
            "lockDuration": lock_ms,
            "stalledInterval": lock_ms // 4,
            "maxStalledCount": STALLS_MAX,
            "runRetryDelay": 500,
        }
        worker = Worker(queue, process, options)
        worker.on("error", lambda error, *_: log.warning("queue.error", queue=queue, error=repr(error)))
        worker.on("stalled", lambda job_id: log.warning("queue.stalled", queue=queue, job_id=job_id))
        worker.on("failed", lambda job, error: _log_failure(queue, job, error))
        self._workers[queue] = worker
        await worker.run()

    async def _process(self, queue: str, job: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        with structlog.contextvars.bound_contextvars(queue=queue, job=job.name, job_id=job.id):
            try:
                await self._handlers[queue, job.name](job.data["payload"])
                outbox_id = job.data["outboxId"]
                if self._finish is not None and outbox_id is not None:
                    await self._finish(outbox_id)
            except asyncio.CancelledError as error:
                if task.cancelling():
                    raise
                # Let out, it would end the worker's loop and with it every other job.
                raise RuntimeError("the handler cancelled itself") from error


def _log_failure(queue: str, job: Any, error: Exception) -> None:
    left = max(job.opts["attempts"] - job.attemptsMade, 0)
    level = log.warning if left else log.error
    level("queue.job_failed", queue=queue, job=job.name, job_id=job.id, attempts_left=left, exc_info=error)


def _monotonic() -> float:
    return asyncio.get_running_loop().time()

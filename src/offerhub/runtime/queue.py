"""Jobs on BullMQ: `Queues` adds them, `Workers` runs them (design 8).

A job's data, as Node workers and Bull Board see it, is always
`{"outboxId": 17, "payload": {...}}`; `outboxId` is null for a job that did not come through the outbox. Its id is
`outbox-17`, or `outbox-17-2` for the second hand-over of the same row. A foreign worker takes `payload` and needs to
do nothing about `outboxId`: the relay clears the row once it sees that the job is completed.

A worker that dies is replaced within five seconds: its lock on the job runs out after `LOCK_SECONDS`, and the check
for such jobs runs four times as often. A job can therefore run twice, and handlers must be idempotent. A worker that
is told to stop hands back, at its deadline, what it has not finished: the next one takes it at once.
Jobs that fail at every attempt are dead letters (`dead_letters`); whoever keeps those is told of every failure.
"""

import asyncio
import base64
import contextlib
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, Final

import redis.asyncio as redis
import structlog
from bullmq import Job, Queue, Worker  # type: ignore[import-untyped]
from bullmq.custom_errors import DelayedError, UnrecoverableError  # type: ignore[import-untyped]
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import RedisError, ResponseError

from offerhub.kernel.chance import jitter
from offerhub.runtime import spans
from offerhub.runtime.counted_redis import CountedRedis
from offerhub.runtime.jobs import COUNTED, Depth, Fail, Failure, Finish, Handler, Limit, Priority, State

log = structlog.stdlib.get_logger(__name__)

PREFIX: Final = "bull"
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
HAND_BACK_SECONDS: Final = 1.0
"""How long Redis may take to take jobs back from a worker that stops."""


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
    return CountedRedis.from_pool(ConnectionPool(**settings))


@contextlib.contextmanager
def reaching(queue: str) -> Iterator[None]:
    """Whatever Redis fails with becomes QueueUnavailable."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise QueueUnavailable(f"{queue}: {error}") from error


def client_name(prefix: str, queue: str) -> str:
    """What BullMQ for Node calls the connections of a queue's workers; one with a name adds `:w:<name>`.

    >>> client_name("bull", "sagas")
    'bull:c2FnYXM='
    """
    return f"{prefix}:{base64.b64encode(queue.encode()).decode()}"


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
        priority: int = Priority.FIRST,
        outbox_id: int | None = None,
        traceparent: str | None = None,
    ) -> None:
        """Add a job, unless the queue still has one with this id. Raises QueueUnavailable.

        `traceparent` is the span that has caused it; it is handed on where BullMQ has a place for it (`tm`).
        A job id must not be a bare number nor contain a colon (BullMQ's own rule).
        """
        # The jitter is drawn per job, so that a Node worker, too, spreads the jobs that failed together.
        backoff_ms = round(jitter(BACKOFF_SECONDS) * 1000)
        options = {
            "jobId": job_id,
            "delay": round(delay_seconds * 1000),
            "priority": int(priority),
            "attempts": attempts,
            "backoff": {"type": "exponential", "delay": backoff_ms},
            "removeOnComplete": {"count": COMPLETED_KEPT},
            "removeOnFail": False,
        }
        with spans.handed_over(queue, name, job_id, traceparent), reaching(queue):
            await self.bullmq(queue).add(name, job_data(payload, outbox_id), options | spans.metadata(traceparent))
        log.debug("queue.job_added", queue=queue, job=name, job_id=job_id, priority=int(priority))

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

    async def is_paused(self, queue: str) -> bool:
        """Whether somebody has paused it, as one can with Bull Board. Raises QueueUnavailable."""
        with reaching(queue):
            return bool(await self.bullmq(queue).isPaused())

    async def depth(self, queue: str) -> Depth:
        """What stands in the queue, and how many workers take from it. Raises QueueUnavailable."""
        counts = await self.counts(queue)
        paused = await self.is_paused(queue)
        with reaching(queue):
            try:
                clients = await self._client.client_list()
            except ResponseError:
                # Some hosted servers forbid CLIENT LIST.
                return Depth(counts, paused, None)
        # The list is that of the whole server. A worker of ours has several connections of one name.
        ours = str(self._client.connection_pool.connection_kwargs.get("db", 0))
        base = client_name(self._prefix, queue)
        names = [client["name"] for client in clients if client["db"] == ours]
        named = {name for name in names if name.startswith(f"{base}:w:")}
        return Depth(counts, paused, len(named) + names.count(base))

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
        fail: Fail | None = None,
        limits: Mapping[str, Limit] | None = None,
        name: str = "",
        prefix: str = PREFIX,
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        """`handlers` by (queue, job name); `concurrency` is jobs at a time by queue, 10 where it says nothing.

        `finish` is normally `Relay.finish`. A job is complete only when it has returned, too. `limits` by queue are
        shared by all workers that have the same ones. `name` tells this process from the others, for people.
        Raises ValueError when the URL is not one of Redis.
        """
        parse_url(redis_url)  # here, and not first in a background task
        self._redis_url = redis_url
        self._handlers = dict(handlers)
        self._concurrency = dict(concurrency)
        self._finish = finish
        self._fail = fail
        self._limits = dict(limits or {})
        self._name = name
        self._prefix = prefix
        self._lock_seconds = lock_seconds
        self._workers: dict[str, Any] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._jobs: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._handing_back = False

    def start(self) -> None:
        """Begin to take jobs, now or as soon as Redis is there. Needs a running event loop."""
        assert not self._keepers, "started twice"
        queues = sorted({queue for queue, _ in self._handlers})
        self._keepers = [asyncio.create_task(self._keep(queue), name=f"queue {queue}") for queue in queues]

    async def pause(self) -> None:
        """Take no more jobs; those that run go on. There is no way back."""
        self._closing = True
        for worker in self._workers.values():
            await worker.pause(do_not_wait_active=True)

    async def close(self, deadline_seconds: float) -> None:
        """Take no more jobs, let those that run finish, and cancel and hand them back after `deadline_seconds`.

        A job that was handed back is run again by another worker; it has lost no attempt.
        """
        deadline = _monotonic() + deadline_seconds
        # Paused first: BullMQ's own close stops renewing the locks of jobs that still run.
        await self.pause()
        workers = list(self._workers.values())
        while self._jobs and _monotonic() < deadline:
            await asyncio.wait(self._jobs, timeout=deadline - _monotonic())
        await self._cancel_jobs()
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
            # A cancellation may have been swallowed by a driver (see `cancellation.py`).
            for worker in workers:
                worker.cancelProcessing()
        log.error("queue.not_closed", tasks=len(left))

    async def _cancel_jobs(self) -> None:
        self._handing_back = True
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=HAND_BACK_SECONDS)

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
        async def process(job: Job, token: str) -> None:
            await self._process(queue, job, token)

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
        if (limit := self._limits.get(queue)) is not None:
            options["limiter"] = {"max": limit.jobs, "duration": round(limit.seconds * 1000)}
            # Nobody wakes an idle worker when the span is over: it looks again after this many seconds.
            options["drainDelay"] = 1
        worker = Worker(queue, process, options)
        # The Python port leaves the queue's name as it is, and tools that look for workers would find none.
        worker.clientName = f"{client_name(self._prefix, queue)}:w:{self._name}"
        worker.on("error", lambda error, *_: log.warning("queue.error", queue=queue, error=repr(error)))
        worker.on("stalled", lambda job_id: log.warning("queue.stalled", queue=queue, job_id=job_id))
        worker.on("failed", lambda job, error: _log_failure(queue, job, error))
        self._workers[queue] = worker
        await worker.run()

    async def _process(self, queue: str, job: Any, token: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        with structlog.contextvars.bound_contextvars(queue=queue, job=job.name, job_id=job.id):
            log.debug("queue.job_taken", attempt=job.attemptsMade + 1)
            try:
                await self._run(queue, job, task)
            except asyncio.CancelledError:
                if self._handing_back:
                    await _hand_back(job, token)
                raise
            except Exception as error:
                await self._tell(queue, job, error)
                raise
            log.debug("queue.job_done")

    async def _run(self, queue: str, job: Any, task: "asyncio.Task[Any]") -> None:
        try:
            with spans.job(queue, job.name, job.id, job.attemptsMade + 1, job.opts.get("tm")):
                await self._handlers[queue, job.name](job.data["payload"])
                outbox_id = job.data["outboxId"]
                if self._finish is not None and outbox_id is not None:
                    await self._finish(outbox_id)
        except asyncio.CancelledError as error:
            if task.cancelling():
                raise
            # Let out, it would end the worker's loop and with it every other job.
            raise RuntimeError("the handler cancelled itself") from error

    async def _tell(self, queue: str, job: Any, error: Exception) -> None:
        """Tell whoever keeps failures; that it cannot be kept just now must not hide the failure itself."""
        if self._fail is None:
            return
        attempt = job.attemptsMade + 1
        failure = Failure(
            queue,
            job.id,
            job.name,
            job.data,
            attempt,
            attempt >= job.opts["attempts"] or isinstance(error, UnrecoverableError),
            str(error) or type(error).__name__,
            "".join(traceback.format_exception(error)),
            job.timestamp,
        )
        try:
            await self._fail(failure)
        except Exception as lost:  # noqa: BLE001 - whatever it is, the queue still has the job
            log.warning("queue.failure_not_kept", error=repr(lost))


async def _hand_back(job: Any, token: str) -> None:
    """Let another worker take a job of ours at once. Raises DelayedError, which tells our own that it is done."""
    with reaching(job.name):
        await job.moveToDelayed(0, token)
    log.info("queue.job_handed_back")
    raise DelayedError


def _log_failure(queue: str, job: Any, error: Exception) -> None:
    left = max(job.opts["attempts"] - job.attemptsMade, 0)
    level = log.warning if left else log.error
    level("queue.job_failed", queue=queue, job=job.name, job_id=job.id, attempts_left=left, exc_info=error)


def _monotonic() -> float:
    return asyncio.get_running_loop().time()

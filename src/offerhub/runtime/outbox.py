"""The outbox relay: rows that were committed with their cause become jobs, and stay until the job has run.

PostgreSQL is the truth and Redis may forget (design 8). A row goes through these moves, each its own short
transaction, none of which is open while Redis is spoken to:

1. claim: `due_at` moves ten seconds ahead, so no other relay takes the row meanwhile;
2. the job is added to its queue under an id made from the row's, so adding it twice is one job;
3. mark: `enqueued_at` is set and `enqueued` counts the hand-over. A crash before this repeats steps 1 and 2;
4. `finish` deletes the row when the job's handler has succeeded, and with it a dead letter that somebody has let run.

Rows of priority 0 go before all others. A row whose job is a dead letter (`dead_at`) is left alone until an operator
has decided about it.

Rows of a kind that comes in floods are not handed over at first: after the claim, all of them in the batch go to one
`BulkHandler` here, and those that it has done are deleted. The others are handed over as any row is, and so have the
queue's attempts and its dead letters. A crash in between leaves them to the next claim. Where traces are exported
every row is a job, because a trace follows one.

A sweep looks at rows that were handed over a minute ago and still stand. What the queue still knows (waiting,
delayed, running, or failed and waiting for an operator) is left alone; what it does not know any more is
handed over again, under an id with the count of hand-overs, as the old id may be remembered by the queue.
Handlers may therefore run twice and must be idempotent.
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from offerhub.runtime import spans
from offerhub.runtime.cancellation import end, heed_cancellation
from offerhub.runtime.database import UNREACHABLE, Database, Tx
from offerhub.runtime.jobs import BulkHandler
from offerhub.runtime.queue import Queues, QueueUnavailable

log = structlog.stdlib.get_logger(__name__)

INTERVAL_SECONDS: Final = 0.25
BATCH_ROWS: Final = 100
CLAIM_SECONDS: Final = 10.0
SWEEP_AFTER_SECONDS: Final = 60.0
BULKS_MAX: Final = 4
"""So many bulks a relay has under way; what comes beyond that is handed over, where any process may take it."""
BACKOFF_SECONDS_MAX: Final = 2.0
_OURS: Final = re.compile(r"outbox-([0-9]+)(?:-([0-9]+))?", re.ASCII)

# now() and not clock_timestamp(): only a stable function can be looked up in the index.
# Two looks, as each has an index of its own: what is urgent is found however much else is due.
_CLAIM = """
WITH urgent AS (
    SELECT id FROM outbox WHERE enqueued_at IS NULL AND dead_at IS NULL AND priority = 0 AND due_at <= now()
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
), later AS (
    SELECT id FROM outbox WHERE enqueued_at IS NULL AND dead_at IS NULL AND priority > 0 AND due_at <= now()
    ORDER BY due_at LIMIT $1 - (SELECT count(*) FROM urgent) FOR UPDATE SKIP LOCKED
), due AS (SELECT id FROM urgent UNION ALL SELECT id FROM later)
UPDATE outbox o SET due_at = clock_timestamp() + make_interval(secs => $2) FROM due WHERE o.id = due.id
RETURNING o.id, o.queue, o.name, o.payload, o.enqueued, o.priority
"""
_MARK = """
UPDATE outbox SET enqueued_at = clock_timestamp(), enqueued = enqueued + 1
WHERE id = ANY($1) AND enqueued_at IS NULL
"""
_UNCLAIM = "UPDATE outbox SET due_at = clock_timestamp() WHERE id = ANY($1) AND enqueued_at IS NULL"
# Moving enqueued_at on keeps other relays away and is when the row will be looked at next.
_LOOK_AGAIN = """
WITH old AS (
    SELECT id FROM outbox WHERE enqueued_at <= now() - make_interval(secs => $2) AND dead_at IS NULL
    ORDER BY enqueued_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE outbox o SET enqueued_at = clock_timestamp() FROM old WHERE o.id = old.id
RETURNING o.id, o.queue, o.enqueued
"""
_FORGOTTEN = "UPDATE outbox SET enqueued_at = NULL, due_at = clock_timestamp() WHERE id = ANY($1)"
_BACKLOG = """
SELECT queue, count(*) FILTER (WHERE enqueued_at IS NULL) AS not_handed_over,
    extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest_seconds
FROM outbox WHERE dead_at IS NULL AND (enqueued_at IS NOT NULL OR due_at <= now()) GROUP BY queue
"""
_FINISH = """
WITH gone AS (DELETE FROM outbox WHERE id = ANY($1) RETURNING id)
DELETE FROM dead_letters d USING gone WHERE d.outbox_id = gone.id
"""


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    queue: str
    name: str
    payload: dict[str, Any]
    enqueued: int
    priority: int


def job_id(outbox_id: int, hand_over: int) -> str:
    """The BullMQ job id of a row's n-th hand-over, counted from 1.

    >>> job_id(17, 1), job_id(17, 2)
    ('outbox-17', 'outbox-17-2')
    """
    # Never a bare number: those are the ids that BullMQ makes itself.
    return f"outbox-{outbox_id}" if hand_over == 1 else f"outbox-{outbox_id}-{hand_over}"


def job_key(of_job: str) -> str:
    """What names a job over all its hand-overs, from the id of any of them.

    >>> job_key("outbox-17"), job_key("outbox-17-2"), job_key("repeat:sync:1")
    ('outbox-17', 'outbox-17', 'repeat:sync:1')
    """
    found = _OURS.fullmatch(of_job)
    return of_job if found is None else f"outbox-{found[1]}"


def hand_over_of(of_job: str) -> int:
    """Which hand-over of its row an id of `job_id` names.

    >>> hand_over_of("outbox-17"), hand_over_of("outbox-17-2")
    (1, 2)
    """
    found = _OURS.fullmatch(of_job)
    return 1 if found is None or found[2] is None else int(found[2])


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows of a queue: those that are due and not handed over, and the age of the oldest that is due and not run."""

    not_handed_over: int
    oldest_seconds: float | None


async def backlog(tx: Tx) -> dict[str, Backlog]:
    """Queue to what stands of it; a queue of which nothing is due is not there. Dead letters do not count."""
    rows = await tx.rows(_BACKLOG)
    return {row["queue"]: Backlog(row["not_handed_over"], row["oldest_seconds"]) for row in rows}


class Relay:
    """Hands due rows of the outbox to BullMQ. Any number of relays may run on one database."""

    def __init__(
        self,
        database: Database,
        queues: Queues,
        interval_seconds: float = INTERVAL_SECONDS,
        *,
        sweep_after_seconds: float = SWEEP_AFTER_SECONDS,
        bulk: Mapping[tuple[str, str], BulkHandler] | None = None,
    ) -> None:
        """`bulk` are the handlers of what is done here in the first place, by (queue, job name)."""
        self._database = database
        self._queues = queues
        self._bulk = {} if bulk is None or spans.active is not None else dict(bulk)
        self._bulks: set[asyncio.Task[None]] = set()
        self._interval_seconds = interval_seconds
        self._sweep_after_seconds = sweep_after_seconds
        self._sweep_at = 0.0
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Something was committed: look at once instead of at the next interval. Call it on the relay's loop."""
        self._bell.set()

    async def finish(self, outbox_id: int) -> None:
        """The row's job has run: forget the row. Raises what the database raises; the job is then run again."""
        await self._database.run(lambda tx: tx.execute(_FINISH, [outbox_id]))

    async def run(self) -> None:
        """Relay until cancelled. An outage of Redis or PostgreSQL is logged at every try and waited out."""
        try:
            await self._relay()
        finally:
            await end(*self._bulks)

    async def _relay(self) -> None:
        failures = 0
        while True:
            self._bell.clear()
            more = False
            try:
                more = await self._turn()
                failures = 0
            except (QueueUnavailable, *UNREACHABLE) as error:
                failures += 1
                log.warning("outbox.stalled", error=repr(error), failures=failures)
            heed_cancellation()
            if failures:
                # The doorbell is not heard here, or every request would knock at a server that is down.
                wait_seconds = self._interval_seconds * 2 ** min(failures, 10)
                await asyncio.sleep(min(wait_seconds, BACKOFF_SECONDS_MAX))
            elif not more:
                await self._wait()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval_seconds):
                await self._bell.wait()

    async def _turn(self) -> bool:
        """One hand-over and, when it is time, one sweep; True when a batch was full and more may be waiting."""
        more = await self.hand_over() == BATCH_ROWS
        now = asyncio.get_running_loop().time()
        if now >= self._sweep_at:
            swept_full = await self.sweep() == BATCH_ROWS
            self._sweep_at = now if swept_full else now + self._sweep_after_seconds / 10
            more = more or swept_full
        return more

    async def hand_over(self) -> int:
        """Hand one batch of due rows over; returns how many.

        Raises QueueUnavailable when Redis did not take them all; those that it did not take are due again.
        """
        claimed = await self._database.statement(_CLAIM, BATCH_ROWS, CLAIM_SECONDS, rings=set())
        if not claimed:
            return 0
        rows = sorted((_Row(*row.values()) for row in claimed), key=lambda row: (row.priority, row.id))
        await self._enqueue(await self._without_bulks(rows))
        return len(rows)

    async def _without_bulks(self, rows: list[_Row]) -> list[_Row]:
        """The rows that are to be handed over. Of each kind of the others a bulk begins."""
        for kind, handler in self._bulk.items():
            # What was handed over before is the queue's, also when that has forgotten it.
            own = [row for row in rows if (row.queue, row.name) == kind and not row.enqueued]
            if own and len(self._bulks) < BULKS_MAX and not await self._is_paused(kind[0]):
                rows = [row for row in rows if (row.queue, row.name) != kind or row.enqueued]
                task = asyncio.create_task(self._in_bulk(handler, own), name=f"bulk of {kind[0]}")
                self._bulks.add(task)
                task.add_done_callback(self._bulks.discard)
        return rows

    async def _is_paused(self, queue: str) -> bool:
        try:
            return await self._queues.is_paused(queue)
        except QueueUnavailable:
            # Without Redis what needs no queue goes on.
            return False

    async def _in_bulk(self, handler: BulkHandler, rows: list[_Row]) -> None:
        """Do rows in bulk, and hand over what came to nothing; without a database they are left to the next claim."""
        try:
            done = await self._done(handler, rows)
            finished = [row.id for row, is_done in zip(rows, done, strict=True) if is_done]
            if finished:
                await self._database.run(lambda tx: tx.execute(_FINISH, finished))
            await self._enqueue([row for row, is_done in zip(rows, done, strict=True) if not is_done])
            log.debug("outbox.bulk_done", rows=len(rows), finished=len(finished))
        except (QueueUnavailable, *UNREACHABLE) as error:
            log.warning("outbox.bulk_stalled", rows=len(rows), error=repr(error))
        except asyncio.CancelledError:
            # Whoever comes next need not wait for the claim to run out.
            with contextlib.suppress(*UNREACHABLE):
                await self._settle([], [row.id for row in rows])
            raise

    async def _done(self, handler: BulkHandler, rows: list[_Row]) -> Sequence[bool]:
        try:
            # Half the claim, and the other half to hand over what is left.
            async with asyncio.timeout(CLAIM_SECONDS / 2):
                return await handler([row.payload for row in rows])
        except Exception as error:  # noqa: BLE001 - whatever broke, the queue counts attempts and keeps what fails
            log.warning("outbox.bulk_failed", rows=len(rows), error=repr(error))
            return [False] * len(rows)

    async def _enqueue(self, rows: list[_Row]) -> None:
        taken: list[int] = []
        try:
            # Half the claim: nobody else may come for these rows while we are still handing them over.
            async with asyncio.timeout(CLAIM_SECONDS / 2):
                await self._add(rows, taken)
        except TimeoutError as error:
            raise QueueUnavailable("Redis is too slow to take a batch of jobs") from error
        finally:
            await self._settle(taken, [row.id for row in rows[len(taken) :]])

    async def _add(self, rows: Sequence[_Row], taken: list[int]) -> None:
        for row in rows:
            # Not for the job: where its trace comes from.
            traceparent = row.payload.pop(spans.CARRIED, None)
            await self._queues.add(
                row.queue,
                row.name,
                row.payload,
                job_id=job_id(row.id, row.enqueued + 1),
                priority=row.priority,
                outbox_id=row.id,
                traceparent=traceparent,
            )
            taken.append(row.id)

    async def _settle(self, taken: list[int], left: list[int]) -> None:
        if taken:
            await self._database.run(lambda tx: tx.execute(_MARK, taken))
        if left:
            await self._database.run(lambda tx: tx.execute(_UNCLAIM, left))

    async def sweep(self) -> int:
        """Look at one batch of rows whose job should have run by now; returns how many were looked at.

        Raises QueueUnavailable when Redis cannot be asked; the rows are then looked at again a minute later.
        """
        rows = await self._database.run(lambda tx: tx.rows(_LOOK_AGAIN, BATCH_ROWS, self._sweep_after_seconds))
        forgotten: list[int] = []
        run: list[int] = []
        for row in rows:
            state = await self._queues.state(row["queue"], job_id(row["id"], row["enqueued"]))
            if state == "unknown":
                forgotten.append(row["id"])
            elif state == "completed":
                # Run by a worker that is not ours and so could not finish the row.
                run.append(row["id"])
        if forgotten:
            log.warning("outbox.forgotten_by_redis", rows=len(forgotten))
            await self._database.run(lambda tx: tx.execute(_FORGOTTEN, forgotten))
        if run:
            await self._database.run(lambda tx: tx.execute(_FINISH, run))
        return len(rows)

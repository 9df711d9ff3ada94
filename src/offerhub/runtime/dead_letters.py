"""Dead letters: jobs that failed at every attempt, and what an operator may do about one (design 8).

PostgreSQL keeps them, with every attempt that failed, because Redis may be emptied at any moment. The worker whose
attempt was the last writes the letter down before BullMQ moves the job to its failed set; whatever else ends there
(a job that killed its workers, one that a foreign worker gave up) is copied by a look every few seconds. The failed
set stays as BullMQ's tools know it, and an operator may act there as well.

A letter's id is its queue and its job's key with a point in between, such as `sagas.outbox-17`. The row of the outbox
that its job came from stands, marked dead, so that nothing hands it over again until somebody has decided.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from bullmq import Job  # type: ignore[import-untyped]

from offerhub.runtime.cancellation import heed_cancellation
from offerhub.runtime.database import UNREACHABLE, Database, Row, Tx
from offerhub.runtime.jobs import Failure
from offerhub.runtime.outbox import hand_over_of, job_key
from offerhub.runtime.queue import Queues, QueueUnavailable, reaching
from offerhub.runtime.redaction import scrub

log = structlog.stdlib.get_logger(__name__)

STATE: Final = "failed"
LOOK_SECONDS: Final = 5.0
LOOK_BATCH: Final = 1_000
HISTORY_SHOWN_MAX: Final = 50
REASON_CHARACTERS_MAX: Final = 2_000
TRACE_CHARACTERS_MAX: Final = 20_000
FAILURES_KEPT_SECONDS: Final = 30 * 24 * 3600.0
PURGE_BATCH: Final = 1_000

Place = tuple[datetime, str]
"""Where a letter stands among all: when it failed, and its id."""

_NOTE = """
INSERT INTO job_failures (queue, job_key, job_id, attempt, reason, trace, worker, failed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, clock_timestamp()))
"""
# A row that waits to be handed over again, or was since, has left this failure behind; one that is gone has run.
_MARK_DEAD = """
UPDATE outbox SET dead_at = clock_timestamp()
WHERE id = $1 AND greatest(enqueued, 1) = $2 AND (enqueued = 0 OR enqueued_at IS NOT NULL)
"""
_BURY = """
INSERT INTO dead_letters (id, queue, job_key, job_id, name, payload, outbox_id, attempts, reason, trace, created_at,
    failed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce($12, clock_timestamp()))
ON CONFLICT (id) DO UPDATE SET job_id = excluded.job_id, attempts = excluded.attempts, reason = excluded.reason,
    trace = excluded.trace, failed_at = excluded.failed_at
"""
_SELECT = "SELECT id, queue, job_id, name, payload, outbox_id, attempts, reason, trace, created_at, failed_at"
_NEWEST = f"""
{_SELECT} FROM dead_letters
WHERE ($2::text IS NULL OR queue = $2) AND ($3::timestamptz IS NULL OR (failed_at, id) < ($3, $4))
ORDER BY failed_at DESC, id DESC LIMIT $1
"""
_TAKE = f"""
WITH taken AS (DELETE FROM dead_letters WHERE id = $1 RETURNING *) {_SELECT} FROM taken
"""
_AGAIN = """
UPDATE outbox SET dead_at = NULL, enqueued_at = NULL, enqueued = greatest(enqueued, 1), due_at = clock_timestamp()
WHERE id = $1
"""
_ANEW = "INSERT INTO outbox (queue, name, payload) VALUES ($1, $2, $3)"
_PURGE = """
WITH old AS (
    SELECT f.id FROM job_failures f WHERE f.failed_at < now() - make_interval(secs => $1)
    AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.id = f.queue || '.' || f.job_key)
    ORDER BY f.failed_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM job_failures f USING old WHERE f.id = old.id
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that failed for good. `attempts` were made since it was last handed over; `trace` is of the last one."""

    id: str
    queue: str
    job_id: str
    name: str
    payload: dict[str, Any]
    outbox_id: int | None
    attempts: int
    reason: str
    trace: str
    created_at: datetime
    failed_at: datetime

    @property
    def place(self) -> Place:
        """Where it stands among all."""
        return self.failed_at, self.id


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a job that failed, and the worker that made it."""

    number: int
    failed_at: datetime
    reason: str
    worker: str


def moment_of(milliseconds: int) -> datetime:
    """A time of BullMQ's."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


class DeadLetters:
    """Keeps what fails. `names` are the queues that are looked at; `worker` is for people to read."""

    def __init__(self, database: Database, queues: Queues, names: Sequence[str], worker: str) -> None:
        self._database = database
        self._queues = queues
        self._names = tuple(names)
        self._worker = worker

    async def keep(self, failure: Failure) -> None:
        """Keep a failed attempt, and the letter that it makes when it was the last.

        Raises what the database raises.
        """
        buried = await self._database.run(lambda tx: self._keep(tx, failure, self._worker))
        if failure.final and buried:
            log.error("dead_letter.kept", queue=failure.queue, job=failure.name, job_id=failure.job_id)

    async def watch(self) -> None:
        """Copy what ended in a failed set otherwise, until cancelled; outages only delay."""
        while True:
            for name in self._names:
                try:
                    await self.look(name)
                except (QueueUnavailable, *UNREACHABLE) as error:
                    log.warning("dead_letter.not_looked_for", queue=name, error=repr(error))
                heed_cancellation()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, queue: str) -> int:
        """Compare one queue's failed set with the letters; returns how many were new.

        A failed job that has been decided about, or whose work was done since, is taken out of the set. Raises
        QueueUnavailable.
        """
        bullmq = self._queues.bullmq(queue)
        with reaching(queue):
            failed: list[str] = await bullmq.client.zrevrange(bullmq.keys[STATE], 0, LOOK_BATCH - 1)
        if not failed:
            return 0
        known = "SELECT job_id FROM dead_letters WHERE queue = $1 AND job_id = ANY($2)"
        rows = await self._database.run(lambda tx: tx.rows(known, queue, failed), read_only=True)
        kept = {row["job_id"] for row in rows}
        return sum([await self._copy(queue, job_id) for job_id in failed if job_id not in kept])

    async def _copy(self, queue: str, job_id: str) -> bool:
        with reaching(queue):
            job = await Job.fromId(self._queues.bullmq(queue), job_id)
        if job is None or not job.finishedOn:
            return False
        trace = job.stacktrace[-1] if job.stacktrace else ""
        reason = job.failedReason or "no reason was given"
        attempt = max(job.attemptsMade, 1)
        failure = Failure(
            queue, job_id, job.name, job.data, attempt, True, reason, trace, job.timestamp, job.finishedOn
        )
        if await self._database.run(lambda tx: self._keep(tx, failure, "unknown")):
            log.error("dead_letter.kept", queue=queue, job=job.name, job_id=job_id)
            return True
        with reaching(queue):
            await self._queues.bullmq(queue).remove(job_id)
        return False

    async def _keep(self, tx: Tx, failure: Failure, worker: str) -> bool:
        """True when this made a letter."""
        key = job_key(failure.job_id)
        reason = scrub(failure.reason)[:REASON_CHARACTERS_MAX].replace("\0", "")
        trace = scrub(failure.trace)[-TRACE_CHARACTERS_MAX:].replace("\0", "")
        failed_at = None if failure.failed_ms is None else moment_of(failure.failed_ms)
        payload, outbox_id = _contents(failure)
        buried = failure.final
        if buried and outbox_id is not None:
            buried = await tx.execute(_MARK_DEAD, outbox_id, hand_over_of(failure.job_id)) == 1
        if failure.failed_ms is not None and not buried:
            return False
        note = (failure.queue, key, failure.job_id, failure.attempt, reason, trace, worker, failed_at)
        await tx.execute(_NOTE, *note)
        if buried:
            await tx.execute(
                _BURY,
                f"{failure.queue}.{key}",
                failure.queue,
                key,
                failure.job_id,
                failure.name,
                payload,
                outbox_id,
                failure.attempt,
                reason,
                trace,
                moment_of(failure.created_ms),
                failed_at,
            )
        return buried


def _contents(failure: Failure) -> tuple[dict[str, Any], int | None]:
    """What the job was given, and its row. A job that somebody else added may hold anything."""
    data = failure.data
    if not (isinstance(data, dict) and "payload" in data):
        return (data if isinstance(data, dict) else {"value": data}), None
    payload, outbox_id = data["payload"], data.get("outboxId")
    # Only under the id that the relay gives is it the relay's job.
    is_ours = isinstance(outbox_id, int) and job_key(failure.job_id) == f"outbox-{outbox_id}"
    return (payload if isinstance(payload, dict) else {"value": payload}), outbox_id if is_ours else None


async def newest(tx: Tx, limit: int, *, queue: str | None = None, after: Place | None = None) -> list[DeadLetter]:
    """At most `limit` letters, the newest first, of one queue or of all; only those behind `after`."""
    failed_at, letter_id = after or (None, None)
    return [_letter(row) for row in await tx.rows(_NEWEST, limit, queue, failed_at, letter_id)]


async def get(tx: Tx, letter_id: str) -> DeadLetter | None:
    """The letter with this id; None when there is none (any more)."""
    row = await tx.row(f"{_SELECT} FROM dead_letters WHERE id = $1", letter_id)
    return None if row is None else _letter(row)


async def history(tx: Tx, letter: DeadLetter) -> list[Attempt]:
    """The last attempts that failed, over all hand-overs, the oldest first."""
    sql = """
        SELECT attempt, failed_at, reason, worker FROM job_failures WHERE queue = $1 AND job_key = $2
        ORDER BY id DESC LIMIT $3
    """
    rows = await tx.rows(sql, letter.queue, job_key(letter.job_id), HISTORY_SHOWN_MAX)
    return [Attempt(row["attempt"], row["failed_at"], row["reason"], row["worker"]) for row in reversed(rows)]


async def retry(tx: Tx, letter_id: str) -> DeadLetter | None:
    """Let the job be handed over again, with all its attempts; None when there is no such letter (any more)."""
    letter = await _take(tx, letter_id)
    if letter is None:
        return None
    if letter.outbox_id is None:
        await tx.execute(_ANEW, letter.queue, letter.name, letter.payload)
    elif not await tx.execute(_AGAIN, letter.outbox_id):
        return None
    return letter


async def discard(tx: Tx, letter_id: str) -> DeadLetter | None:
    """Give the job up; None when there is no such letter (any more)."""
    letter = await _take(tx, letter_id)
    if letter is not None and letter.outbox_id is not None:
        await tx.execute("DELETE FROM outbox WHERE id = $1", letter.outbox_id)
    return letter


async def remove_failed(queues: Queues, letter: DeadLetter) -> bool:
    """Take a letter's job out of its failed set; False when Redis cannot be asked just now.

    To be done before it is decided about: should the decision not be written then, the letter still stands. What is
    left in the set of a letter that came from the outbox does no harm, and `DeadLetters.look` takes it out later; any
    other would come back as a letter.
    """
    try:
        if await queues.state(letter.queue, letter.job_id) == STATE:
            with reaching(letter.queue):
                await queues.bullmq(letter.queue).remove(letter.job_id)
    except QueueUnavailable as error:
        log.warning("dead_letter.left_in_redis", queue=letter.queue, job_id=letter.job_id, error=str(error))
        return False
    return True


async def counts(tx: Tx) -> dict[str, int]:
    """Queue to its number of letters; a queue without any is not there."""
    rows = await tx.rows("SELECT queue, count(*) AS letters FROM dead_letters GROUP BY queue")
    return {row["queue"]: row["letters"] for row in rows}


async def purge(tx: Tx) -> int:
    """Forget a batch of failures that are old and belong to no letter; returns how many."""
    return await tx.execute(_PURGE, FAILURES_KEPT_SECONDS, PURGE_BATCH)


async def _take(tx: Tx, letter_id: str) -> DeadLetter | None:
    row = await tx.row(_TAKE, letter_id)
    return None if row is None else _letter(row)


def _letter(row: Row) -> DeadLetter:
    return DeadLetter(*row.values())

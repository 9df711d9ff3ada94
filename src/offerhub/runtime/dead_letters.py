"""Dead letters: jobs that failed at every attempt, and what an operator may do about one (design 8).

They are BullMQ's failed sets, one per queue; nothing is copied, so Bull Board shows the same. A letter's id is its
queue and its job's id with a point in between, such as `sagas.outbox-17`. To discard one that came through the outbox
give up its row first, or the sweeper hands the job over again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bullmq import Job  # type: ignore[import-untyped]

from offerhub.runtime.queue import Queues, reaching

STATE: Final = "failed"

Place = tuple[int, str, str]
"""Where a letter stands among all: when it failed (milliseconds), its queue, its job's id."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that failed for good. `attempts` were made; `trace` is of the last one, empty when none is kept."""

    queue: str
    job_id: str
    name: str
    payload: Any
    outbox_id: int | None
    reason: str
    trace: str
    attempts: int
    created_ms: int
    failed_ms: int

    @property
    def id(self) -> str:
        """What names it among the letters of all queues."""
        return f"{self.queue}.{self.job_id}"

    @property
    def place(self) -> Place:
        """Where it stands among all."""
        return self.failed_ms, self.queue, self.job_id


def moment_of(milliseconds: int) -> datetime:
    """A time of BullMQ's."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


class DeadLetters:
    """The dead letters of some queues. Every method raises QueueUnavailable when Redis cannot be asked."""

    def __init__(self, queues: Queues, names: Sequence[str]) -> None:
        self._queues = queues
        self._names = tuple(names)

    @property
    def names(self) -> tuple[str, ...]:
        """The queues whose letters these are."""
        return self._names

    async def newest(self, limit: int, *, queue: str | None = None, after: Place | None = None) -> list[DeadLetter]:
        """At most `limit` letters, the newest first, of one queue or of all; only those behind `after`."""
        names = self._names if queue is None else (queue,)
        places = [place for name in names for place in await self._places(name, limit, after)]
        places.sort(reverse=True)
        found = [await self._letter(name, job_id) for _, name, job_id in places[:limit]]
        return [letter for letter in found if letter is not None]

    async def get(self, letter_id: str) -> DeadLetter | None:
        """The letter with this id; None when there is none (any more)."""
        queue, _, job_id = letter_id.partition(".")
        if queue not in self._names or not job_id or await self._queues.state(queue, job_id) != STATE:
            return None
        return await self._letter(queue, job_id)

    async def retry(self, letter: DeadLetter) -> bool:
        """Let the job wait for a worker again, with all its attempts; False when it is no dead letter any more."""
        with reaching(letter.queue):
            job = await self._job(letter.queue, letter.job_id)
            if job is None:
                return False
            try:
                await job.retry(STATE, {"resetAttemptsMade": True, "resetAttemptsStarted": True})
            except TypeError:
                # BullMQ's way to say that the job is gone or has moved on.
                return False
        return True

    async def discard(self, letter: DeadLetter) -> bool:
        """Remove the job for good; False when it is no dead letter any more."""
        if await self._queues.state(letter.queue, letter.job_id) != STATE:
            return False
        with reaching(letter.queue):
            return bool(await self._queues.bullmq(letter.queue).remove(letter.job_id) == 1)

    async def _places(self, queue: str, limit: int, after: Place | None) -> list[Place]:
        """The first `limit` places behind `after`. Jobs that failed in one millisecond may fill whole batches."""
        found: list[Place] = []
        start = 0
        newest: int | str = "+inf" if after is None else after[0]
        with reaching(queue):
            bullmq = self._queues.bullmq(queue)
            while len(found) < limit:
                rows = await bullmq.client.zrevrangebyscore(
                    bullmq.keys[STATE], newest, "-inf", start=start, num=limit, withscores=True
                )
                places = [(int(score), queue, job_id) for job_id, score in rows]
                found += [place for place in places if after is None or place < after]
                if len(rows) < limit:
                    break
                start += limit
        return found[:limit]

    async def _letter(self, queue: str, job_id: str) -> DeadLetter | None:
        with reaching(queue):
            job = await self._job(queue, job_id)
        if job is None:
            return None
        # A job that somebody else added may hold anything.
        ours = isinstance(job.data, dict) and "payload" in job.data
        outbox_id = job.data.get("outboxId") if ours else None
        return DeadLetter(
            queue=queue,
            job_id=job_id,
            name=job.name,
            payload=job.data["payload"] if ours else job.data,
            outbox_id=outbox_id if isinstance(outbox_id, int) else None,
            reason=job.failedReason or "",
            trace=job.stacktrace[-1] if job.stacktrace else "",
            attempts=job.attemptsMade,
            created_ms=job.timestamp,
            failed_ms=job.finishedOn,
        )

    async def _job(self, queue: str, job_id: str) -> Any:
        return await Job.fromId(self._queues.bullmq(queue), job_id)

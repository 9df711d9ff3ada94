"""Schedules: jobs that come back by the clock, once however many replicas run (contract 8).

They are BullMQ's job schedulers: one record per schedule in Redis, from which whoever takes a job makes the next one.
Redis may lose the records, so every process looks after them: what is missing, differs or has no next job is put in
order. A schedule that this program does not have (any more) is removed once, when a process starts; two versions that
run side by side during an upgrade do not fight.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog

from offerhub.runtime.cancellation import heed_cancellation
from offerhub.runtime.dead_letters import moment_of
from offerhub.runtime.queue import Queues, QueueUnavailable, job_data, reaching

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 2.0
ATTEMPTS_MAX: Final = 3
BACKOFF_SECONDS: Final = 5.0
COMPLETED_KEPT: Final = 100
NEXT_IS_THERE: Final = frozenset({"delayed", "waiting", "active", "prioritized"})


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job that runs every so often. BullMQ lets no colon into `id`; a job's name may have one."""

    id: str
    name: str
    every_seconds: float
    payload: Mapping[str, Any] = field(default_factory=dict)

    @property
    def every_ms(self) -> int:
        """The period in BullMQ's unit."""
        return round(self.every_seconds * 1000)


@dataclass(frozen=True, slots=True)
class Planned:
    """A schedule as it stands in Redis."""

    id: str
    name: str
    every_seconds: float
    next_at: datetime


class Schedules:
    """The schedules of one queue."""

    def __init__(self, queues: Queues, queue: str, wanted: Sequence[Schedule]) -> None:
        assert not any(":" in one.id for one in wanted)
        self._queues = queues
        self._queue = queue
        self._wanted = {one.id: one for one in wanted}

    async def keep(self) -> None:
        """Look after the schedules until cancelled; an outage of Redis only delays."""
        cleaned = False
        while True:
            try:
                if not cleaned:
                    await self.remove_stale()
                    cleaned = True
                await self.ensure()
                delay = LOOK_SECONDS
            except QueueUnavailable as error:
                log.warning("schedules.delayed", queue=self._queue, error=str(error))
                delay = RETRY_SECONDS
            heed_cancellation()
            await asyncio.sleep(delay)

    async def remove_stale(self) -> list[str]:
        """Remove what is scheduled but not wanted; returns the ids. Raises QueueUnavailable."""
        stale = [found for found in await self._records() if found["key"] not in self._wanted]
        for found in stale:
            with reaching(self._queue):
                await self._bullmq.removeJobScheduler(found["key"])
                # BullMQ takes its delayed job along, but not one that waits for a worker already.
                await self._bullmq.remove(_job_id(found["key"], found["next"]))
            log.info("schedules.removed", queue=self._queue, schedule=found["key"])
        return [found["key"] for found in stale]

    async def ensure(self) -> list[str]:
        """Put in order what is wanted; returns the ids that were not. A new schedule runs at once.

        Raises QueueUnavailable.
        """
        records = {found["key"]: found for found in await self._records()}
        changed = [one for one in self._wanted.values() if not await self._stands(one, records.get(one.id))]
        for one in changed:
            options = {
                "attempts": ATTEMPTS_MAX,
                "backoff": {"type": "fixed", "delay": round(BACKOFF_SECONDS * 1000)},
                "removeOnComplete": {"count": COMPLETED_KEPT},
                "removeOnFail": False,
            }
            try:
                with reaching(self._queue):
                    await self._bullmq.upsertJobScheduler(
                        one.id, {"every": one.every_ms}, one.name, job_data(one.payload), options
                    )
            except TypeError as error:
                # BullMQ's way to say that the next turns are taken by jobs of an older schedule: not for long.
                log.warning("schedules.not_set", queue=self._queue, schedule=one.id, error=str(error))
            else:
                log.info("schedules.set", queue=self._queue, schedule=one.id, every_seconds=one.every_seconds)
        return [one.id for one in changed]

    async def planned(self) -> list[Planned]:
        """What is scheduled now, the next one first. Raises QueueUnavailable."""
        found = [
            Planned(record["key"], record["name"], record["every"] / 1000, moment_of(record["next"]))
            for record in await self._records()
            if record.get("every") and record.get("next") is not None
        ]
        return sorted(found, key=lambda one: one.next_at)

    async def _stands(self, wanted: Schedule, record: Mapping[str, Any] | None) -> bool:
        if record is None or record.get("every") != wanted.every_ms or record.get("name") != wanted.name:
            return False
        # Each job makes the next when it is taken; whoever drains the queue breaks that chain.
        return await self._queues.state(self._queue, _job_id(wanted.id, record["next"])) in NEXT_IS_THERE

    async def _records(self) -> list[Mapping[str, Any]]:
        with reaching(self._queue):
            records: list[Mapping[str, Any]] = await self._bullmq.getJobSchedulers()
        return records

    @property
    def _bullmq(self) -> Any:
        return self._queues.bullmq(self._queue)


def _job_id(schedule_id: str, moment_ms: int) -> str:
    """BullMQ's id for the job of one turn."""
    return f"repeat:{schedule_id}:{moment_ms}"

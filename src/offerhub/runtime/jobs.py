"""The vocabulary of jobs: what runs one, which goes first, how it failed, and how many stand in a queue."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Literal

Handler = Callable[[dict[str, Any]], Awaitable[None]]
"""Runs one job, given its payload; whatever it raises makes the job be tried again."""
BulkHandler = Callable[[Sequence[dict[str, Any]]], Awaitable[Sequence[bool]]]
"""Has the first go at several jobs at once, given their payloads; says of each whether it is done."""
Finish = Callable[[int], Awaitable[None]]
"""Told the outbox id of a job whose handler has succeeded."""
Fail = Callable[["Failure"], Awaitable[None]]
"""Told of every attempt that failed, before the queue is."""
State = Literal["waiting", "active", "delayed", "completed", "failed", "prioritized", "waiting-children", "unknown"]

COUNTED: Final = ("waiting", "active", "completed", "failed", "delayed", "prioritized")


class Priority(IntEnum):
    """BullMQ's own number. What has LATER is handed over, and taken, after all that has FIRST."""

    FIRST = 0
    LATER = 10


@dataclass(frozen=True, slots=True)
class Limit:
    """How many jobs of a queue all workers together begin in a span of time."""

    jobs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt at a job that failed; `final` says that there will be no other. Times in milliseconds."""

    queue: str
    job_id: str
    name: str
    data: Any
    attempt: int
    final: bool
    reason: str
    trace: str
    created_ms: int
    failed_ms: int | None = None
    """None: just now."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs a queue has in each of COUNTED, and who takes them."""

    counts: Mapping[str, int]
    is_paused: bool
    workers: int | None
    """None where Redis does not list its clients."""

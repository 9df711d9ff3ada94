"""What a reconciliation job, its runs and its schedule are, inside and on the wire."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, cast

from msgspec import Meta

from offerhub.kernel.clock import to_wire
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Shape
from offerhub.runtime.vocabulary import Timestamp

JobType = Literal[
    "sync-topups",
    "sync-withdrawals",
    "sync-refunds",
    "sync-escrows",
    "check-missed-deposits",
    "apply-policies",
    "check-books",
    "reconcile-totals",
]
Trigger = Literal["schedule", "manual"]
RunStatus = Literal["QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "ABANDONED"]
RunId = Annotated[
    str,
    Meta(
        description="The id of a run.",
        examples=["run_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"],
        extra_json_schema={"pattern": "^run_[0-9A-Za-z]{32}$"},
    ),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: resources looked at, changed, found to differ for the first time, and not to be had."""

    checked: int = 0
    changed: int = 0
    discrepancies: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class ReconciliationJob:
    """One job. `work` may be repeated, and interrupted anywhere. One that is not `scheduled` only people start."""

    type: JobType
    every_seconds: float
    work: Callable[[], Awaitable[Outcome]]
    scheduled: bool = True

    @property
    def name(self) -> str:
        """The name of its jobs in the queue."""
        return f"reconciliation:{self.type}"

    @property
    def schedule_id(self) -> str:
        """The name of its schedule in the queue."""
        return f"scheduled-{self.type}"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job, as stored."""

    id: str
    job: str
    trigger: str
    status: str
    requested_by: str | None
    outcome: Outcome
    failure: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    def wire(self) -> "RunAnswer":
        """The run as it is answered."""
        return RunAnswer(
            id=self.id,
            job=cast("JobType", self.job),
            trigger=cast("Trigger", self.trigger),
            status=cast("RunStatus", self.status),
            requestedBy=self.requested_by,
            checked=self.outcome.checked,
            changed=self.outcome.changed,
            discrepancies=self.outcome.discrepancies,
            errors=self.outcome.errors,
            failure=self.failure,
            createdAt=to_wire(self.created_at),
            startedAt=None if self.started_at is None else to_wire(self.started_at),
            endedAt=None if self.ended_at is None else to_wire(self.ended_at),
        )


class RunAnswer(Shape):
    """One run of a reconciliation job."""

    id: RunId
    job: JobType
    trigger: Annotated[Trigger, Meta(description="Whether the clock or a person started it.")]
    status: Annotated[
        RunStatus,
        Meta(
            description="`ABANDONED`: its process died, or nobody took it within an hour. `FAILED` may run again: "
            "its job is tried a few times."
        ),
    ]
    requestedBy: Annotated[str | None, Meta(description="The credential that asked for it.")]
    checked: Annotated[int, Meta(ge=0, description="How many resources were looked at.")]
    changed: Annotated[int, Meta(ge=0, description="How many moved on by it: deposits credited, sagas resumed.")]
    discrepancies: Annotated[int, Meta(ge=0, description="How many differences were found for the first time.")]
    errors: Annotated[int, Meta(ge=0, description="How many could not be looked at, or were put aside for a person.")]
    failure: Annotated[str | None, Meta(description="Why the run as a whole failed.")]
    createdAt: Timestamp
    startedAt: Timestamp | None
    endedAt: Timestamp | None


class RunsQuery(PageQuery):
    """Which runs to list."""

    job: Annotated[JobType | None, Meta(description="Only the runs of this job.")] = None
    status: Annotated[RunStatus | None, Meta(description="Only the runs in this state.")] = None


class ScheduleAnswer(Shape):
    """A job that runs by the clock."""

    job: Annotated[str, Meta(description="The job's name.", examples=["reconciliation:sync-escrows"])]
    queue: Annotated[str, Meta(description="The queue that it runs in.", examples=["reconciliation"])]
    everySeconds: Annotated[float, Meta(description="How often it runs.", examples=[600])]
    nextRunAt: Timestamp
    lastRun: Annotated[RunAnswer | None, Meta(description="Its latest run, whoever started it.")]


class SchedulesAnswer(Shape):
    """Everything that runs by the clock, the next one first."""

    schedules: list[ScheduleAnswer]

"""What operations tell: health (contract 2.1), and maintenance, queues and what is stuck (2.14)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from offerhub.kernel.clock import to_wire
from offerhub.operations.budgets import Waits
from offerhub.runtime.breaker import BreakerState
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import Amount, Timestamp

Health = Literal["healthy", "degraded", "unhealthy"]
QueueName = Literal["sagas", "webhooks", "webhook-deliveries", "reconciliation"]
Version = Annotated[str, Meta(description="The version of the service.", examples=["0.1.0"])]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a check tells beside whether a dependency answers.

    `lag` is by how many seconds it is behind; `version` is the newest migration that the schema has.
    """

    lag: float | None = None
    version: int | None = None


class Shortcoming(Exception):
    """A dependency answers, but somebody should look: the text is told to everybody who asks.

    `unusable` says that it is of no use as it is, although it answers.
    """

    def __init__(self, text: str, facts: Facts | None = None, *, unusable: bool = False) -> None:
        super().__init__(text)
        self.facts = facts or Facts()
        self.unusable = unusable


@dataclass(frozen=True, slots=True)
class Probe:
    """How to ask a dependency whether it answers.

    `check` returns when it does and raises when it does not, or Shortcoming when it does but somebody should look;
    None says that this installation does not use it. `essential` tells whether the service is unhealthy without it,
    or only degraded. `breaker` tells the state of the circuit breaker on the line to it, which the check itself
    neither heeds nor moves. A check may return facts to be shown.
    """

    check: Callable[[], Awaitable[Facts | None]] | None
    essential: bool = False
    breaker: Callable[[], BreakerState] | None = None


@dataclass(frozen=True, slots=True)
class PublicConfig:
    """What this installation offers; `fiat` names the payment provider."""

    fiat: str
    sse: bool
    airtm: bool
    trustless_work: bool


class HealthAnswer(Shape):
    """The process answers; nothing else was asked."""

    status: Literal["healthy"]
    version: Version
    timestamp: Timestamp


class DependencyAnswer(Shape):
    """What became of asking one dependency."""

    status: Health
    latency: Annotated[float | UnsetType, Meta(description="How long its answer took, in milliseconds.")] = UNSET
    error: Annotated[str | UnsetType, Meta(description="Why it counts as not healthy.")] = UNSET
    breaker: Annotated[
        BreakerState | UnsetType,
        Meta(
            description="Of a provider: `open` while this process holds its calls back after failures in a row, "
            "`half_open` when the next call may try again, else `closed`."
        ),
    ] = UNSET
    lag: Annotated[
        float | UnsetType,
        Meta(description="Of `deposits`: seconds since everything that the network showed was booked."),
    ] = UNSET
    version: Annotated[
        int | UnsetType, Meta(description="Of `schema`: the number of the newest migration that is applied.")
    ] = UNSET


class DetailedHealthAnswer(Shape):
    """The service's health: that of the worst dependency that this installation uses."""

    status: Health
    version: Version
    dependencies: Annotated[
        dict[str, DependencyAnswer],
        Meta(
            description="By name: `database`, `schema`, `redis`, `queue`, `trustlessWork`, `airtm`, `stellar`, "
            "`stellarRpc`, `deposits`, `treasury`. One that is not configured is `degraded` and does not count.",
            examples=[{"database": {"status": "healthy", "latency": 0.41}}],
        ),
    ]
    timestamp: Timestamp


class ReadyAnswer(Shape):
    """The process can take requests."""

    status: Literal["ready"]
    version: Version
    dependencies: Annotated[
        dict[str, DependencyAnswer],
        Meta(
            description="`database`, `schema` and `redis`, which does not count: requests are answered without it.",
            examples=[{"database": {"status": "healthy", "latency": 0.41}}],
        ),
    ]
    timestamp: Timestamp


class RangeAnswer(Shape):
    """The smallest and the largest amount that is recommended. Nothing enforces them."""

    min: Amount
    max: Amount


class LimitsAnswer(Shape):
    """Recommendations that a client may show to its users."""

    topup: RangeAnswer
    withdrawal: RangeAnswer
    order: RangeAnswer


class FeaturesAnswer(Shape):
    """What this installation offers."""

    milestones: bool
    disputes: bool
    sse: Annotated[bool, Meta(description="Whether events are streamed.")]
    airtm: Annotated[bool, Meta(description="Whether users can pay in and out through Airtm.")]
    trustlessWork: Annotated[bool, Meta(description="Whether orders can be put into escrow.")]


class ProvidersAnswer(Shape):
    """Who moves the money."""

    fiat: Annotated[str, Meta(description="The rail of deposits and withdrawals.", examples=["crypto"])]
    escrow: Literal["trustless_work"]


class ConfigAnswer(Shape):
    """What a client may want to know of this installation."""

    currencies: Annotated[list[str], Meta(examples=[["USD"]])]
    limits: LimitsAnswer
    features: FeaturesAnswer
    providers: ProvidersAnswer
    version: Version


class MaintenanceAnswer(Shape):
    """Whether changes are accepted; everything but `enabled` is there only while they are not."""

    enabled: bool
    message: Annotated[str | UnsetType, Meta(description="What clients are told.")] = UNSET
    enabledAt: Timestamp | UnsetType = UNSET
    enabledBy: Annotated[str | UnsetType, Meta(description="The credential that enabled it.")] = UNSET


Count = Annotated[int, Meta(ge=0)]
DeadLetterId = Annotated[
    str,
    Meta(
        min_length=1,
        description="The id of a failed job: its queue and its own id in the queue.",
        examples=["sagas.outbox-17"],
    ),
]


class QueueAnswer(Shape):
    """How many jobs of a queue are where."""

    waiting: Count
    active: Annotated[int, Meta(ge=0, description="Running just now.")]
    completed: Annotated[int, Meta(ge=0, description="The latest that succeeded; a thousand are kept.")]
    failed: Annotated[int, Meta(ge=0, description="In BullMQ's failed set, which Redis may lose.")]
    delayed: Annotated[int, Meta(ge=0, description="Waiting for their time: a schedule, or the next attempt.")]
    prioritized: Annotated[int, Meta(ge=0, description="Waiting behind those that are `waiting`.")]
    deadLetters: Annotated[int, Meta(ge=0, description="Jobs that failed for good and wait for an operator.")]
    notHandedOver: Annotated[int, Meta(ge=0, description="Due, and still in PostgreSQL alone.")]
    oldestSeconds: Annotated[
        float | None, Meta(description="How long the oldest job that is due has not run; dead letters aside.")
    ]
    workers: Annotated[int | None, Meta(description="Processes that take its jobs; null where Redis does not tell.")]
    paused: Annotated[bool, Meta(description="Whether somebody has paused it with a tool of BullMQ's.")]


class QueuesAnswer(Shape):
    """Every queue of this service."""

    queues: Annotated[
        dict[str, QueueAnswer],
        Meta(
            description="By name.",
            examples=[
                {
                    "sagas": {
                        "waiting": 0,
                        "active": 2,
                        "completed": 1000,
                        "failed": 0,
                        "delayed": 1,
                        "prioritized": 0,
                        "deadLetters": 0,
                        "notHandedOver": 0,
                        "oldestSeconds": 0.21,
                        "workers": 2,
                        "paused": False,
                    }
                }
            ],
        ),
    ]


class DeadLetterAnswer(Shape):
    """A job that failed at every attempt, and waits for an operator."""

    id: DeadLetterId
    queue: Annotated[str, Meta(examples=["sagas"])]
    job: Annotated[str, Meta(description="The job's name.", examples=["drive"])]
    reason: Annotated[str, Meta(description="What the last attempt failed with.")]
    attempts: Annotated[int, Meta(ge=0, description="How many attempts were made.")]
    payload: Annotated[
        dict[str, Any],
        Meta(
            description="What the job was given; secrets are masked.",
            examples=[{"sagaId": "sga_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"}],
        ),
    ]
    createdAt: Timestamp
    failedAt: Timestamp


class AttemptAnswer(Shape):
    """One attempt that failed."""

    attempt: Annotated[int, Meta(ge=1, description="Counted anew after each retry.")]
    failedAt: Timestamp
    reason: Annotated[str, Meta(description="What it failed with.")]
    worker: Annotated[str, Meta(description="The process that made it; `unknown` for one that is not ours.")]


class DeadLetterDetails(DeadLetterAnswer):
    """A dead letter with how it came about."""

    trace: Annotated[str, Meta(description="Where the last attempt failed.")]
    history: Annotated[
        list[AttemptAnswer],
        Meta(description="The last fifty attempts that failed, over all retries, the oldest first."),
    ]


class MovedLetterAnswer(Shape):
    """What became of a dead letter."""

    id: DeadLetterId
    queue: Annotated[str, Meta(examples=["sagas"])]
    job: Annotated[str, Meta(description="The job's name.", examples=["drive"])]
    status: Literal["RETRIED", "DISCARDED"]


class DeadLettersQuery(Body):
    """Which dead letters to list."""

    queue: Annotated[QueueName | None, Meta(description="Only those of this queue.", examples=["sagas"])] = None
    limit: Annotated[int, Meta(ge=0, le=50, description="How long the page is.")] = 20
    cursor: Annotated[str | None, Meta(description="The `nextCursor` of the page before.")] = None


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Maintenance that is on: what clients are told, since when, and which credential switched it on."""

    message: str
    enabled_at: datetime
    enabled_by: str

    def wire(self) -> MaintenanceAnswer:
        """The state as it is answered."""
        return MaintenanceAnswer(
            enabled=True, message=self.message, enabledAt=to_wire(self.enabled_at), enabledBy=self.enabled_by
        )


class EnableMaintenance(Body):
    """What clients are told while changes are refused."""

    message: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=500,
                description="Shown to clients with each refusal.",
                examples=["Back at 12:00 UTC."],
            ),
        ]
        | None
    ) = None


class DisableMaintenance(Body):
    """Nothing: an empty body, or `{}`."""


StuckType = Literal["Order", "Escrow", "Dispute", "TopUp", "Withdrawal", "Saga", "WebhookEvent", "Job"]


class StuckQuery(Body):
    """Which stuck things to list."""

    type: Annotated[StuckType | None, Meta(description="Only things of this kind.")] = None
    marketplaceId: Annotated[str | None, Meta(description="Only those of this marketplace.")] = None
    limit: Annotated[
        int | None,
        Meta(
            description="How many at most; above 500 counts as 500. Without it 100.",
            examples=[100],
            extra_json_schema={"minimum": 1},
        ),
    ] = None


class StuckItemAnswer(Shape):
    """Something that has not ended and is past its time."""

    type: StuckType
    id: Annotated[str, Meta(examples=["esc_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"])]
    marketplaceId: Annotated[str | None, Meta(description="null for what belongs to the whole installation.")]
    orderId: Annotated[str | None, Meta(description="The order that it is about.")]
    state: Annotated[str, Meta(examples=["RELEASING"])]
    since: Timestamp
    ageSeconds: Annotated[int, Meta(ge=0, description="How long it has been in this state.")]
    budgetSeconds: Annotated[int, Meta(ge=0, description="How long it may be.")]
    amount: Annotated[Amount | None, Meta(description="The money that waits; null where it is about none.")]
    cause: Annotated[
        str,
        Meta(
            description="Why it stands still, as far as is known: the step that is not done, and its last error.",
            examples=["The contract is paying the seller. Step release_funds is UNKNOWN after 4 attempts."],
        ),
    ]
    waitsFor: Annotated[
        Waits,
        Meta(description="Who has to act: the service itself, Airtm, the user, the marketplace, or you."),
    ]
    nextStep: Annotated[str, Meta(description="What happens next by itself, or what the one who has to act does.")]
    nextStepAt: Annotated[Timestamp | None, Meta(description="When that is, where it is known.")]
    sagaId: Annotated[str | None, Meta(description="The saga that carries it.")]


class StuckAnswer(Shape):
    """What is past its time, the oldest first."""

    items: list[StuckItemAnswer]
    hasMore: Annotated[bool, Meta(description="True when there are more than the limit.")]
    checkedAt: Timestamp

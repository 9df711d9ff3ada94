"""Health: what is asked of a dependency, and what is answered (contract 2.1); and maintenance (contract 2.14)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from offerhub.kernel.clock import to_wire
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import Amount, Timestamp

Health = Literal["healthy", "degraded", "unhealthy"]
Version = Annotated[str, Meta(description="The version of the service.", examples=["0.1.0"])]


class Impaired(Exception):
    """The dependency answers, and something about it needs a person; the text is shown to everybody."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How to ask a dependency whether it answers.

    `check` returns when it does and raises when it does not, or Impaired; None says that this installation does not
    use it.
    `essential` tells whether the service is unhealthy without it, or only degraded.
    """

    check: Callable[[], Awaitable[None]] | None
    essential: bool = False


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


class DetailedHealthAnswer(Shape):
    """The service's health: that of the worst dependency that this installation uses."""

    status: Health
    version: Version
    dependencies: Annotated[
        dict[str, DependencyAnswer],
        Meta(
            description="By name: `database`, `redis`, `trustlessWork`, `airtm`, `stellar`. One that is not "
            "configured is `degraded` and does not count.",
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

"""The policies of a marketplace, inside and on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta

from offerhub.kernel.clock import to_wire
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import MarketplaceId, Timestamp

Name = Literal["autoRelease", "autoCancelUnfunded", "disputeDeadline", "topupExpiry"]
Action = Literal["RELEASE", "REFUND", "CANCEL", "ESCALATE"]
OnDeadline = Literal["ESCALATE", "REFUND", "RELEASE"]

DAY_HOURS: Final = 24
DAYS_MAX: Final = 365
HOURS_MAX: Final = DAYS_MAX * DAY_HOURS

FIELDS: Final[Mapping[Name, str]] = {
    "autoRelease": "autoReleaseAfterDays",
    "autoCancelUnfunded": "autoCancelUnfundedAfterHours",
    "disputeDeadline": "disputeDeadlineDays",
    "topupExpiry": "topupExpiryHours",
}
"""The field that says after how long, for each policy."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy as stored; without a span it is off."""

    name: Name
    span_hours: int | None
    action: Action
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True, slots=True)
class Due:
    """Something whose time is over: what the policy says, and since when its subject is in its state."""

    policy: Name
    action: Action
    marketplace_id: str
    subject_id: str
    state_since: datetime
    due_at: datetime
    span_hours: int

    @property
    def actor_id(self) -> str:
        """Who acts, in events and in the audit trail, such as `policy:autoRelease`."""
        return f"policy:{self.policy}"

    @property
    def reason(self) -> str:
        """The cause, in words."""
        hours = self.span_hours
        span = f"{hours // DAY_HOURS} days" if hours % DAY_HOURS == 0 else f"{hours} hours"
        return f"Policy {FIELDS[self.policy]}: {span} are over since {to_wire(self.due_at)}."


def _span(what: str, example: int, most: int) -> Meta:
    return Meta(description=f"{what} 1 to {most}; null is off.", examples=[example])


_Days = Annotated[int, Meta(ge=1, le=DAYS_MAX)]
_Hours = Annotated[int, Meta(ge=1, le=HOURS_MAX)]


class PoliciesBody(Body):
    """All policies of the marketplace; what is left out is off."""

    autoReleaseAfterDays: Annotated[
        _Days | None,
        _span(
            "Release an order to the seller when it has been in progress for so many days without a dispute, counted "
            "from its last completed milestone where it has any.",
            14,
            DAYS_MAX,
        ),
    ] = None
    autoCancelUnfundedAfterHours: Annotated[
        _Hours | None,
        _span("Cancel an order that was not funded for so many hours; a reservation goes back.", 72, HOURS_MAX),
    ] = None
    disputeDeadlineDays: Annotated[
        _Days | None, _span("What `onDisputeDeadline` says happens so many days after the opening.", 10, DAYS_MAX)
    ] = None
    onDisputeDeadline: Annotated[
        OnDeadline,
        Meta(
            description="`ESCALATE` sends the event `dispute.escalated` and moves no money; `REFUND` pays the buyer "
            "back, `RELEASE` pays the seller, as if support had decided so."
        ),
    ] = "ESCALATE"
    topupExpiryHours: Annotated[
        _Hours | None,
        _span("Cancel a top-up at Airtm that its user has not paid for so many hours.", 24, HOURS_MAX),
    ] = None

    def wanted(self) -> dict[Name, tuple[int | None, Action]]:
        """Each policy's span in hours and its action."""

        def days(count: int | None) -> int | None:
            return None if count is None else count * DAY_HOURS

        return {
            "autoRelease": (days(self.autoReleaseAfterDays), "RELEASE"),
            "autoCancelUnfunded": (self.autoCancelUnfundedAfterHours, "CANCEL"),
            "disputeDeadline": (days(self.disputeDeadlineDays), self.onDisputeDeadline),
            "topupExpiry": (self.topupExpiryHours, "CANCEL"),
        }


class AppliesFromAnswer(Shape):
    """Since when each policy is as it is; null for one that never was on.

    What was in its state before has the whole span from here.
    """

    autoReleaseAfterDays: Timestamp | None
    autoCancelUnfundedAfterHours: Timestamp | None
    disputeDeadlineDays: Timestamp | None
    topupExpiryHours: Timestamp | None


class PoliciesAnswer(Shape):
    """The policies of a marketplace; null is off."""

    marketplaceId: MarketplaceId
    autoReleaseAfterDays: int | None
    autoCancelUnfundedAfterHours: int | None
    disputeDeadlineDays: int | None
    onDisputeDeadline: OnDeadline
    topupExpiryHours: int | None
    appliesFrom: AppliesFromAnswer


def answer(marketplace_id: str, policies: Mapping[Name, Policy]) -> PoliciesAnswer:
    """The policies as they are answered; one that is not stored is off."""

    def span(name: Name, unit_hours: int) -> int | None:
        found = policies.get(name)
        return None if found is None or found.span_hours is None else found.span_hours // unit_hours

    def since(name: Name) -> str | None:
        return to_wire(policies[name].changed_at) if name in policies else None

    deadline = policies.get("disputeDeadline")
    action: OnDeadline = "ESCALATE"
    if deadline is not None and deadline.action != "CANCEL":
        action = deadline.action
    return PoliciesAnswer(
        marketplaceId=marketplace_id,
        autoReleaseAfterDays=span("autoRelease", DAY_HOURS),
        autoCancelUnfundedAfterHours=span("autoCancelUnfunded", 1),
        disputeDeadlineDays=span("disputeDeadline", DAY_HOURS),
        onDisputeDeadline=action,
        topupExpiryHours=span("topupExpiry", 1),
        appliesFrom=AppliesFromAnswer(**{field: since(name) for name, field in FIELDS.items()}),
    )

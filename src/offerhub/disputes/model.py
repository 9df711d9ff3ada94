"""What a dispute is, inside and on the wire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, cast

from msgspec import Meta

from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.orders.model import Decision, DisputeAnswer, DisputeReason, DisputeStatus, OrderAnswer, Party
from offerhub.runtime.routes import Body
from offerhub.runtime.vocabulary import ALIAS, Amount, OrderId


class DisputeWithOrderAnswer(DisputeAnswer):
    """A dispute and the order that it is about."""

    order: OrderAnswer


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute as stored; amounts in units, before fees."""

    id: str
    marketplace_id: str
    order_id: str
    opened_by: Party
    reason: DisputeReason
    evidence: list[str] | None
    status: str
    assigned_to: str | None
    resolution_decision: Decision | None
    decision_note: str | None
    release_amount: int | None
    refund_amount: int | None
    resolved_at: datetime | None
    created_at: datetime
    updated_at: datetime

    def wire(self) -> DisputeAnswer:
        """The dispute object of contract 2.9, without its order."""
        return DisputeAnswer(
            id=self.id,
            orderId=self.order_id,
            openedBy=self.opened_by,
            reason=self.reason,
            evidence=self.evidence,
            status=cast("DisputeStatus", self.status),
            resolutionDecision=self.resolution_decision,
            decisionNote=self.decision_note,
            assignedTo=self.assigned_to,
            releaseAmount=None if self.release_amount is None else format_amount(self.release_amount),
            refundAmount=None if self.refund_amount is None else format_amount(self.refund_amount),
            resolvedAt=None if self.resolved_at is None else to_wire(self.resolved_at),
            createdAt=to_wire(self.created_at),
            updatedAt=to_wire(self.updated_at),
        )


EVIDENCE_MAX: Final = 20
EVIDENCE_CHARACTERS_MAX: Final = 2_000
NOTE_CHARACTERS_MAX: Final = 5_000
ASSIGNEE_CHARACTERS_MAX: Final = 255

_Evidence = Annotated[str, Meta(max_length=EVIDENCE_CHARACTERS_MAX)]
_Assignee = Annotated[str, Meta(min_length=1, max_length=ASSIGNEE_CHARACTERS_MAX)]
_Note = Annotated[str, Meta(max_length=NOTE_CHARACTERS_MAX)]


class OpenDispute(Body, kw_only=True):
    """Who disagrees, and why."""

    openedBy: Annotated[Party, Meta(description="The party that disagrees.", examples=["BUYER"])]
    reason: Annotated[DisputeReason, Meta(description="What it is about.", examples=["QUALITY_ISSUE"])]
    evidence: Annotated[
        Annotated[list[_Evidence], Meta(max_length=EVIDENCE_MAX)] | None,
        Meta(
            description="What shows it, such as addresses of files, each up to 2,000 characters.",
            examples=[["https://files.example.com/draft.png"]],
        ),
    ] = None
    orderId: Annotated[
        OrderId | None, Meta(description="If it is there, it must be the path's.", extra_json_schema=ALIAS)
    ] = None


class AssignDispute(Body, kw_only=True):
    """Who looks after the dispute."""

    one_of = (("assignedTo", "agentId"),)

    assignedTo: Annotated[_Assignee | None, Meta(description="Your own id of the person.", examples=["agent-1"])] = (
        None
    )
    agentId: Annotated[
        _Assignee | None, Meta(description="Another name of `assignedTo`.", extra_json_schema=ALIAS)
    ] = None
    notes: Annotated[
        str | None, Meta(description="For people; it is in the event.", examples=["Buyer was asked"])
    ] = None


class ResolveDispute(Body, kw_only=True):
    """Who gets the money."""

    decision: Annotated[
        Decision, Meta(description="`SPLIT` needs both amounts; the others need none.", examples=["SPLIT"])
    ]
    releaseAmount: Annotated[
        Amount | None, Meta(description="What the seller gets in a split, before fees.", examples=["15.00"])
    ] = None
    refundAmount: Annotated[
        Amount | None,
        Meta(
            description="What the buyer gets in a split, before fees; both add up to the order's amount.",
            examples=["10.00"],
        ),
    ] = None
    release_amount: Annotated[
        Amount | None, Meta(description="Another name of `releaseAmount`.", extra_json_schema=ALIAS)
    ] = None
    refund_amount: Annotated[
        Amount | None, Meta(description="Another name of `refundAmount`.", extra_json_schema=ALIAS)
    ] = None
    note: Annotated[_Note | None, Meta(description="Why, for both parties.", examples=["Half is done"])] = None


class ListDisputes(Body, kw_only=True):
    """Filters of GET /disputes."""

    orderId: Annotated[OrderId | None, Meta(description="Only the dispute of this order.")] = None
    status: Annotated[DisputeStatus | None, Meta(description="Only disputes in this state.", examples=["OPEN"])] = (
        None
    )
    openedBy: Annotated[Party | None, Meta(description="Only disputes of this party.", examples=["BUYER"])] = None

"""What an order is, inside and on the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal, cast, get_args

import msgspec
from msgspec import Meta

from offerhub.escrows.model import Escrow, EscrowAnswer, EscrowMilestone, MilestonePayoutAnswer
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import Units, format_amount
from offerhub.providers.trustless_work.intents import MILESTONES_MAX, EscrowType
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.statements import as_kept, place
from offerhub.runtime.vocabulary import (
    ALIAS,
    SHOWN,
    Amount,
    Currency,
    DisputeId,
    MilestoneId,
    OrderId,
    PositiveAmount,
    Timestamp,
    UserId,
)

MilestoneStatus = Literal["OPEN", "COMPLETED"]
OrderStatus = Literal[
    "ORDER_CREATED",
    "FUNDS_RESERVED",
    "ESCROW_CREATING",
    "ESCROW_FUNDING",
    "ESCROW_FUNDED",
    "IN_PROGRESS",
    "RELEASE_REQUESTED",
    "RELEASED",
    "REFUND_REQUESTED",
    "REFUNDED",
    "DISPUTED",
    "CLOSED",
]
FinalStatus = Literal["RELEASED", "REFUNDED", "CANCELED"]
Party = Literal["BUYER", "SELLER"]
DisputeReason = Literal["NOT_DELIVERED", "QUALITY_ISSUE", "OTHER"]
DisputeStatus = Literal["OPEN", "UNDER_REVIEW", "RESOLVED"]
Decision = Literal["FULL_RELEASE", "FULL_REFUND", "SPLIT"]


class MilestoneAnswer(Shape):
    """A part of an order's work, with its part of the money."""

    id: MilestoneId
    orderId: OrderId
    milestoneRef: Annotated[str, Meta(description="Your own reference.", examples=["design"])]
    ref: Annotated[str, Meta(description="The same as `milestoneRef`.", examples=["design"])]
    title: Annotated[str, Meta(examples=["First draft"])]
    description: Annotated[str, Meta(description="The same as `title`.", examples=["First draft"])]
    amount: Amount
    status: MilestoneStatus
    completedAt: Timestamp | None
    payout: Annotated[
        MilestonePayoutAnswer | None,
        Meta(description="Its money, in a multi-release order that has an escrow; null in every other one."),
    ]
    createdAt: Timestamp
    updatedAt: Timestamp


class DisputeAnswer(Shape):
    """What buyer and seller disagree about, and how it was decided."""

    id: DisputeId
    orderId: OrderId
    openedBy: Party
    reason: DisputeReason
    evidence: list[str] | None
    status: DisputeStatus
    resolutionDecision: Decision | None
    decisionNote: str | None
    assignedTo: str | None
    releaseAmount: Amount | None
    refundAmount: Amount | None
    resolvedAt: Timestamp | None
    createdAt: Timestamp
    updatedAt: Timestamp


class OrderAnswer(Shape):
    """An order with everything that belongs to it."""

    id: OrderId
    clientOrderRef: Annotated[str, Meta(description="Your own reference.", examples=["4711"])] | None
    buyerId: UserId
    sellerId: UserId
    amount: Amount
    currency: Currency
    status: OrderStatus
    escrowType: Annotated[
        EscrowType,
        Meta(description="Whether its escrow pays once, or each milestone by itself.", examples=["single-release"]),
    ]
    title: Annotated[str, Meta(examples=["A logo"])]
    description: str | None
    metadata: dict[str, Any] | None
    finalStatus: Annotated[FinalStatus | None, Meta(description="How a closed order ended.")]
    closedAt: Timestamp | None
    createdAt: Timestamp
    updatedAt: Timestamp
    escrow: EscrowAnswer | None
    milestones: list[MilestoneAnswer]
    dispute: DisputeAnswer | None


@dataclass(frozen=True, slots=True)
class Milestone:
    """A part of an order's work, with its part of the money."""

    id: str
    order_id: str
    ref: str
    title: str
    amount: Units
    status: str
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime

    def wire(self, payout: EscrowMilestone | None) -> MilestoneAnswer:
        """The milestone object of contract 2.7, in both spellings, with its payout in a multi-release escrow."""
        return MilestoneAnswer(
            id=self.id,
            orderId=self.order_id,
            milestoneRef=self.ref,
            ref=self.ref,
            title=self.title,
            description=self.title,
            amount=format_amount(self.amount),
            status=cast("MilestoneStatus", self.status),
            completedAt=None if self.completed_at is None else to_wire(self.completed_at),
            payout=None if payout is None else payout.wire(),
            createdAt=to_wire(self.created_at),
            updatedAt=to_wire(self.updated_at),
        )


@dataclass(frozen=True, slots=True)
class Order:
    """An order as stored."""

    id: str
    marketplace_id: str
    client_order_ref: str | None
    buyer_id: str
    seller_id: str
    amount: Units
    currency: str
    status: str
    title: str
    description: str | None
    metadata: dict[str, Any] | None
    final_status: str | None
    closed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    escrow_type: EscrowType


def not_stored_yet(order: Order, milestones: Sequence[Milestone]) -> OrderAnswer:
    """The answer about a new order, with places for its times and then those of each milestone."""
    answer = OrderView(order, milestones, None, None).wire()
    answer.createdAt, answer.updatedAt = place(1), place(2)
    answer.metadata = as_kept(answer.metadata)
    for number, milestone in enumerate(answer.milestones, 1):
        milestone.createdAt, milestone.updatedAt = place(2 * number + 1), place(2 * number + 2)
    return answer


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order with everything that its answer shows; the dispute is ready for the wire.

    `payouts` are those of a multi-release order, by milestone; it has them as soon as it has an escrow.
    """

    order: Order
    milestones: Sequence[Milestone]
    escrow: Escrow | None
    dispute: DisputeAnswer | None
    payouts: Mapping[str, EscrowMilestone] = field(default_factory=dict)

    def wire(self) -> OrderAnswer:
        """The order object of contract 2.7."""
        order = self.order
        return OrderAnswer(
            id=order.id,
            clientOrderRef=order.client_order_ref,
            buyerId=order.buyer_id,
            sellerId=order.seller_id,
            amount=format_amount(order.amount),
            currency=order.currency,
            status=cast("OrderStatus", order.status),
            escrowType=order.escrow_type,
            title=order.title,
            description=order.description,
            metadata=order.metadata,
            finalStatus=cast("FinalStatus | None", order.final_status),
            closedAt=None if order.closed_at is None else to_wire(order.closed_at),
            createdAt=to_wire(order.created_at),
            updatedAt=to_wire(order.updated_at),
            escrow=None if self.escrow is None else self.escrow.wire(order.currency),
            milestones=self.milestones_wire(),
            dispute=self.dispute,
        )

    def milestones_wire(self) -> list[MilestoneAnswer]:
        """The milestone objects, in sequence."""
        return [milestone.wire(self.payouts.get(milestone.id)) for milestone in self.milestones]


TITLE_CHARACTERS_MAX: Final = 200
DESCRIPTION_CHARACTERS_MAX: Final = 5_000
REF_CHARACTERS_MAX: Final = 100
CLIENT_REF_CHARACTERS_MAX: Final = 255
SDK_ONLY_STATUSES: Final = frozenset({"COMPLETED", "CANCELLED", "ESCROW_CREATED"})
"""Spellings of the SDK's type that no order ever has; they filter to nothing instead of failing (contract 1.7)."""

_Title = Annotated[str, Meta(min_length=1, max_length=TITLE_CHARACTERS_MAX, pattern=SHOWN)]
_Description = Annotated[str, Meta(max_length=DESCRIPTION_CHARACTERS_MAX)]
_Reason = Annotated[str, Meta(min_length=1, max_length=DESCRIPTION_CHARACTERS_MAX, pattern=SHOWN)]
_Ref = Annotated[str, Meta(min_length=1, max_length=REF_CHARACTERS_MAX, pattern=SHOWN)]
_PartyId = Annotated[UserId, Meta(min_length=1, max_length=REF_CHARACTERS_MAX)]
_ClientRef = Annotated[str, Meta(min_length=1, max_length=CLIENT_REF_CHARACTERS_MAX, pattern=SHOWN)]


class MilestoneBody(Body, kw_only=True):
    """A part of the work, with its part of the money."""

    one_of = (("milestone_ref", "ref"), ("title", "description"))

    milestone_ref: Annotated[
        _Ref | None,
        Meta(description="Your own reference, unique within the order; it names the milestone.", examples=["design"]),
    ] = None
    ref: Annotated[_Ref | None, Meta(description="Another name of `milestone_ref`.", extra_json_schema=ALIAS)] = None
    title: Annotated[_Title | None, Meta(description="What is to be done.", examples=["First draft"])] = None
    description: Annotated[_Title | None, Meta(description="Another name of `title`.", extra_json_schema=ALIAS)] = (
        None
    )
    amount: Annotated[
        PositiveAmount | None,
        Meta(description="Its part of the order's amount. One milestone may leave it out and gets what is left."),
    ] = None


class CreateOrder(Body, kw_only=True):
    """A new order. It moves no money."""

    one_of = (("buyer_id", "buyerId"), ("seller_id", "sellerId"))

    amount: Annotated[PositiveAmount, Meta(description="What the buyer pays, fees of the escrow included.")]
    title: Annotated[_Title, Meta(description="What is bought.", examples=["A logo"])]
    buyer_id: Annotated[_PartyId | None, Meta(description="The user who pays.")] = None
    seller_id: Annotated[
        _PartyId | None,
        Meta(description="The user who is paid; not the buyer.", examples=["usr_06hb3k3R1yK5Zx2wO9tU6sD8nA0qMeRf"]),
    ] = None
    buyerId: Annotated[_PartyId | None, Meta(description="Another name of `buyer_id`.", extra_json_schema=ALIAS)] = (
        None
    )
    sellerId: Annotated[
        _PartyId | None, Meta(description="Another name of `seller_id`.", extra_json_schema=ALIAS)
    ] = None
    client_order_ref: Annotated[
        _ClientRef | None,
        Meta(
            description="Your own reference. A repetition with the same terms finds the order.",
            examples=["4711"],
        ),
    ] = None
    currency: Currency | None = None
    escrow_type: Annotated[
        EscrowType | None,
        Meta(
            description="`single-release` (without it): the escrow pays once, when every milestone is done. "
            "`multi-release`: each milestone pays by itself.",
            examples=["multi-release"],
        ),
    ] = None
    escrowType: Annotated[
        EscrowType | None, Meta(description="Another name of `escrow_type`.", extra_json_schema=ALIAS)
    ] = None
    description: Annotated[
        _Description | None, Meta(description="What is bought, at length.", examples=["A logo in three colours."])
    ] = None
    milestones: Annotated[
        list[MilestoneBody],
        Meta(
            max_length=MILESTONES_MAX,
            description="The parts of the work; their amounts add up to the order's. None is one part.",
            extra_json_schema={
                "examples": [[{"milestone_ref": "design", "title": "First draft", "amount": "25.00"}]]
            },
        ),
    ] = msgspec.field(default_factory=list)
    metadata: Annotated[
        dict[str, Any] | None, Meta(description="Anything of yours; it comes back.", examples=[{"cart": "c-17"}])
    ] = None
    service_id: Annotated[
        str | None, Meta(description="Accepted from older clients and ignored.", extra_json_schema=ALIAS)
    ] = None


class ReserveBody(Body, kw_only=True):
    """Nothing, or the order's own amount."""

    amount: Annotated[PositiveAmount | None, Meta(description="If it is there, it must be the order's amount.")] = (
        None
    )


_REQUESTED_BY: Final = "Accepted from older clients and ignored: the credential says who asks."


class CancelBody(Body, kw_only=True):
    """Why the order is canceled."""

    reason: Annotated[
        str | None, Meta(description="Why, for people; it is in the event.", examples=["Changed my mind"])
    ] = None
    canceledBy: Annotated[str | None, Meta(description=_REQUESTED_BY, extra_json_schema=ALIAS)] = None


class ReleaseBody(Body, kw_only=True):
    """Why the seller is paid."""

    reason: Annotated[
        str | None, Meta(description="Why, for people; it is in the event.", examples=["Delivered"])
    ] = None
    requestedBy: Annotated[str | None, Meta(description=_REQUESTED_BY, extra_json_schema=ALIAS)] = None


class RefundBody(Body, kw_only=True):
    """Why the buyer is paid back."""

    reason: Annotated[_Reason, Meta(description="Why, for people; it is in the event.", examples=["Not delivered"])]
    requestedBy: Annotated[str | None, Meta(description=_REQUESTED_BY, extra_json_schema=ALIAS)] = None


class ListOrders(PageQuery, kw_only=True):
    """Filters of GET /orders; with both parties named, either may match."""

    buyer_id: Annotated[
        UserId | None, Meta(description="Only orders of this buyer; with `seller_id`, of either.")
    ] = None
    seller_id: Annotated[
        UserId | None, Meta(description="Only orders of this seller; with `buyer_id`, of either.")
    ] = None
    status: Annotated[
        str | None,
        Meta(
            description="Only orders in this state. The last three are an older client's words; no order has them.",
            examples=["IN_PROGRESS"],
            extra_json_schema={"enum": [*get_args(OrderStatus), *sorted(SDK_ONLY_STATUSES)]},
        ),
    ] = None
    created_after: Annotated[
        str | None,
        Meta(
            description="Only those whose `createdAt` is later: ISO 8601 with an offset.",
            examples=["2026-11-22T10:15:30.123Z"],
            extra_json_schema={"format": "date-time"},
        ),
    ] = None
    created_before: Annotated[
        str | None,
        Meta(
            description="Only those whose `createdAt` is earlier: ISO 8601 with an offset.",
            examples=["2026-11-22T10:15:30.123Z"],
            extra_json_schema={"format": "date-time"},
        ),
    ] = None

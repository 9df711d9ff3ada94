"""What an order is, inside and on the wire."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from offerhub.escrows.model import Escrow, EscrowAnswer
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import Units, format_amount
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import Amount, Currency, DisputeId, MilestoneId, OrderId, Timestamp, UserId

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

    def wire(self) -> MilestoneAnswer:
        """The milestone object of contract 2.7, in both spellings."""
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


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order with everything that its answer shows; the dispute is ready for the wire."""

    order: Order
    milestones: Sequence[Milestone]
    escrow: Escrow | None
    dispute: DisputeAnswer | None

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
            title=order.title,
            description=order.description,
            metadata=order.metadata,
            finalStatus=cast("FinalStatus | None", order.final_status),
            closedAt=None if order.closed_at is None else to_wire(order.closed_at),
            createdAt=to_wire(order.created_at),
            updatedAt=to_wire(order.updated_at),
            escrow=None if self.escrow is None else self.escrow.wire(order.currency),
            milestones=[milestone.wire() for milestone in self.milestones],
            dispute=self.dispute,
        )


class MilestoneBody(Body, kw_only=True):
    """A milestone as sent: `milestone_ref` and `title`, or the SDK's `ref` and `description`."""

    milestone_ref: str | None = None
    ref: str | None = None
    title: str | None = None
    description: str | None = None
    amount: str | None = None


class CreateOrder(Body, kw_only=True):
    """The body of POST /orders; `buyerId` and `sellerId` are accepted for `buyer_id` and `seller_id`."""

    amount: str
    title: str
    buyer_id: str | None = None
    seller_id: str | None = None
    buyerId: str | None = None
    sellerId: str | None = None
    client_order_ref: str | None = None
    currency: str | None = None
    description: str | None = None
    milestones: list[MilestoneBody] = msgspec.field(default_factory=list)
    metadata: dict[str, Any] | None = None
    service_id: str | None = None


class ReserveBody(Body, kw_only=True):
    """The body of reserve: empty, or the order's own amount."""

    amount: str | None = None


class CancelBody(Body, kw_only=True):
    """The body of cancel."""

    reason: str | None = None
    canceledBy: str | None = None


class ReleaseBody(Body, kw_only=True):
    """The body of release."""

    reason: str | None = None
    requestedBy: str | None = None


class RefundBody(Body, kw_only=True):
    """The body of refund; a reason is required."""

    reason: str
    requestedBy: str | None = None


class ListOrders(PageQuery, kw_only=True):
    """Filters of GET /orders; with both parties named, either may match."""

    buyer_id: str | None = None
    seller_id: str | None = None
    status: str | None = None
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

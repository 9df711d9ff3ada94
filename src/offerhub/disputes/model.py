"""What a dispute is, inside and on the wire."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.orders.model import Decision, DisputeAnswer, DisputeReason, DisputeStatus, OrderAnswer, Party
from offerhub.runtime.routes import Body


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


class OpenDispute(Body, kw_only=True):
    """The body of POST /orders/{id}/resolution/dispute; an `orderId` must be the path's."""

    openedBy: Party
    reason: DisputeReason
    evidence: list[str] | None = None
    orderId: str | None = None


class AssignDispute(Body, kw_only=True):
    """The body of assign; `agentId` is an alias of `assignedTo`."""

    assignedTo: str | None = None
    agentId: str | None = None
    notes: str | None = None


class ResolveDispute(Body, kw_only=True):
    """The body of resolve; a SPLIT needs both amounts."""

    decision: Decision
    releaseAmount: str | None = None
    refundAmount: str | None = None
    release_amount: str | None = None
    refund_amount: str | None = None
    note: str | None = None


class ListDisputes(Body, kw_only=True):
    """Filters of GET /disputes."""

    orderId: str | None = None
    status: DisputeStatus | None = None
    openedBy: Party | None = None

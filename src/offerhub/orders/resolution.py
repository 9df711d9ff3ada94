"""Ending an order without a dispute, or one milestone of it: release to the seller, refund to the buyer."""

from typing import Any, Final, Literal

from offerhub.errors import InvalidState
from offerhub.escrows import service as escrows
from offerhub.escrows.model import Escrow
from offerhub.events.journal import AuditEntry, Event
from offerhub.kernel.clock import Clock, to_wire
from offerhub.orders import milestones, payout, service, store
from offerhub.orders.milestones import Share
from offerhub.orders.model import Milestone, Order
from offerhub.providers.trustless_work.intents import CallIntent
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.sagas.engine import Engine

RELEASE: Final = "order.release"
REFUND: Final = "order.refund"
RELEASE_MILESTONE: Final = "milestone.release"
REFUND_MILESTONE: Final = "milestone.refund"
_MILESTONE_SAGAS: Final = {
    "release": (RELEASE_MILESTONE, "escrow.milestone_release_requested"),
    "refund": (REFUND_MILESTONE, "escrow.milestone_refund_requested"),
}


class Resolution:
    """Starting releases and refunds."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def begin_release(self, tx: Tx, actor: Actor, order_id: str, reason: str | None) -> str:
        """Start paying the seller whatever is in the contract; returns the saga's id.

        Raises InvalidState, naming open milestones.
        """
        order, escrow = await payout.require_payable(tx, actor, order_id)
        if order.escrow_type == "multi-release":
            unpaid = await milestones.require_quiet(tx, order, escrow)
            await _require_completed(tx, order, {row.milestone_id for row in unpaid})
            values = await milestones.begin(tx, escrow, [Share(row, row.amount, 0) for row in unpaid])
        else:
            await _require_completed(tx, order)
            values = _input(order, escrow, payout.release_intents(escrow))
        await escrows.move(tx, escrow.id, "RELEASING", ["FUNDED"])
        return await self._begin(tx, actor, order, "RELEASE_REQUESTED", RELEASE, values, reason)

    async def begin_refund(self, tx: Tx, actor: Actor, order_id: str, reason: str) -> str:
        """Start paying the buyer back whatever is in the contract, by dispute and resolution; returns the saga's id.

        Raises InvalidState.
        """
        order, escrow = await payout.require_payable(tx, actor, order_id)
        if order.escrow_type == "multi-release":
            unpaid = await milestones.require_quiet(tx, order, escrow)
            values = await milestones.begin(tx, escrow, [Share(row, 0, row.amount) for row in unpaid])
        else:
            values = _input(order, escrow, payout.resolve_intents(escrow, seller=0, buyer=escrow.amount))
        await escrows.move(tx, escrow.id, "REFUNDING", ["FUNDED"])
        return await self._begin(tx, actor, order, "REFUND_REQUESTED", REFUND, values, reason)

    async def begin_milestone_release(self, tx: Tx, actor: Actor, order_id: str, ref: str, reason: str | None) -> str:
        """Start paying the seller one completed milestone of a multi-release order; returns the saga's id.

        Raises MilestoneNotFound, InvalidState.
        """
        order, milestone, escrow, share = await self._require_payable_milestone(tx, actor, order_id, ref)
        if milestone.status != "COMPLETED":
            raise InvalidState(
                "The milestone must be completed before its release.",
                orderId=order.id,
                milestoneRef=ref,
                currentState=milestone.status,
                allowedStates=["COMPLETED"],
            )
        return await self._begin_milestone(tx, actor, order, milestone, escrow, share, "release", reason)

    async def begin_milestone_refund(self, tx: Tx, actor: Actor, order_id: str, ref: str, reason: str) -> str:
        """Start paying the buyer one milestone of a multi-release order back; returns the saga's id.

        Raises MilestoneNotFound, InvalidState.
        """
        order, milestone, escrow, share = await self._require_payable_milestone(tx, actor, order_id, ref)
        back = Share(share.row, 0, share.row.amount)
        return await self._begin_milestone(tx, actor, order, milestone, escrow, back, "refund", reason)

    async def _require_payable_milestone(
        self, tx: Tx, actor: Actor, order_id: str, ref: str
    ) -> tuple[Order, Milestone, Escrow, Share]:
        order, milestone, row = await service.require_milestone(tx, actor, order_id, ref)
        if row is None:
            raise InvalidState(
                "The milestones of a single-release order are paid together, when the order is released.",
                orderId=order.id,
                milestoneRef=ref,
                currentState=order.status,
                allowedStates=[],
                escrowType=order.escrow_type,
            )
        if row.status != "UNPAID":
            raise service.milestone_state(order, ref, row.status, ["UNPAID"])
        escrow = await escrows.of_order(tx, order.id)
        assert escrow is not None
        return order, milestone, escrow, Share(row, row.amount, 0)

    async def _begin_milestone(
        self,
        tx: Tx,
        actor: Actor,
        order: Order,
        milestone: Milestone,
        escrow: Escrow,
        share: Share,
        what: Literal["release", "refund"],
        reason: str | None,
    ) -> str:
        payload = {"escrowId": escrow.id, "milestoneRef": milestone.ref, "milestoneTitle": milestone.title}
        payload |= self._request(actor, order, reason)
        kind, event = _MILESTONE_SAGAS[what]
        return await self._engine.start(
            tx,
            actor,
            kind,
            milestone.id,
            await milestones.begin(tx, escrow, [share]),
            events=[Event(event, "Order", order.id, payload, order.buyer_id)],
            audit=[
                AuditEntry(
                    event.removeprefix("escrow.").upper(), "Order", order.id, {"status": share.row.status}, payload
                )
            ],
        )

    async def _begin(
        self,
        tx: Tx,
        actor: Actor,
        order: Order,
        requested: Literal["RELEASE_REQUESTED", "REFUND_REQUESTED"],
        kind: str,
        values: dict[str, Any],
        reason: str | None,
    ) -> str:
        await service.move(tx, order, requested, ["IN_PROGRESS"])
        payload = self._request(actor, order, reason)
        return await self._engine.start(
            tx,
            actor,
            kind,
            order.id,
            values,
            events=[Event(f"order.{requested.lower()}", "Order", order.id, payload, order.buyer_id)],
            audit=[AuditEntry(requested, "Order", order.id, {"status": order.status}, payload)],
        )

    def _request(self, actor: Actor, order: Order, reason: str | None) -> dict[str, Any]:
        """Who asked for it, when and why."""
        return {
            "orderId": order.id,
            "requestedBy": actor.bound_user_id or actor.credential_id,
            "requestedAt": to_wire(self._clock.now()),
        } | ({"reason": reason} if reason else {})


def _input(order: Order, escrow: Escrow, intents: list[CallIntent]) -> dict[str, Any]:
    return {"orderId": order.id, "escrowId": escrow.id, "intents": [intent.to_json() for intent in intents]}


async def _require_completed(tx: Tx, order: Order, which: set[str] | None = None) -> None:
    """Raises InvalidState, naming the milestones (all, or those with these ids) that are not completed."""
    still_open = [
        one.ref
        for one in await store.milestones(tx, [order.id])
        if one.status != "COMPLETED" and (which is None or one.id in which)
    ]
    if still_open:
        raise InvalidState(
            "Every milestone must be completed before the release.",
            orderId=order.id,
            currentState=order.status,
            allowedStates=["IN_PROGRESS"],
            openMilestones=still_open,
        )

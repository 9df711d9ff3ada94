"""Ending an order without a dispute: release to the seller, refund to the buyer."""

from typing import Any, Final, Literal

from offerhub.errors import InvalidState
from offerhub.escrows import service as escrows
from offerhub.escrows.model import Escrow
from offerhub.events.journal import AuditEntry, Event
from offerhub.kernel.clock import Clock, to_wire
from offerhub.orders import payout, service
from offerhub.orders.model import Order
from offerhub.providers.trustless_work.intents import CallIntent
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.sagas.engine import Engine

RELEASE: Final = "order.release"
REFUND: Final = "order.refund"


class Resolution:
    """Starting releases and refunds."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def begin_release(self, tx: Tx, actor: Actor, order_id: str, reason: str | None) -> str:
        """Start paying the seller; returns the saga's id. Raises InvalidState, naming open milestones."""
        order, escrow = await payout.require_payable(tx, actor, order_id)
        still_open = await payout.open_milestones(tx, order)
        if still_open:
            raise InvalidState(
                "Every milestone must be completed before the release.",
                orderId=order.id,
                currentState=order.status,
                allowedStates=["IN_PROGRESS"],
                openMilestones=still_open,
            )
        await escrows.move(tx, escrow.id, "RELEASING", ["FUNDED"])
        return await self._begin(
            tx, actor, order, escrow, "RELEASE_REQUESTED", RELEASE, payout.release_intents(escrow), reason
        )

    async def begin_refund(self, tx: Tx, actor: Actor, order_id: str, reason: str) -> str:
        """Start paying the buyer back, by dispute and resolution; returns the saga's id. Raises InvalidState."""
        order, escrow = await payout.require_payable(tx, actor, order_id)
        await escrows.move(tx, escrow.id, "REFUNDING", ["FUNDED"])
        intents = payout.resolve_intents(escrow, seller=0, buyer=escrow.amount)
        return await self._begin(tx, actor, order, escrow, "REFUND_REQUESTED", REFUND, intents, reason)

    async def _begin(
        self,
        tx: Tx,
        actor: Actor,
        order: Order,
        escrow: Escrow,
        requested: Literal["RELEASE_REQUESTED", "REFUND_REQUESTED"],
        kind: str,
        intents: list[CallIntent],
        reason: str | None,
    ) -> str:
        await service.move(tx, order, requested, ["IN_PROGRESS"])
        payload: dict[str, Any] = {
            "orderId": order.id,
            "requestedBy": actor.bound_user_id or actor.credential_id,
            "requestedAt": to_wire(self._clock.now()),
        } | ({"reason": reason} if reason else {})
        values = {
            "orderId": order.id,
            "escrowId": escrow.id,
            "intents": [intent.to_json() for intent in intents],
        }
        return await self._engine.start(
            tx,
            actor,
            kind,
            order.id,
            values,
            events=[Event(f"order.{requested.lower()}", "Order", order.id, payload, order.buyer_id)],
            audit=[AuditEntry(requested, "Order", order.id, {"status": order.status}, payload)],
        )

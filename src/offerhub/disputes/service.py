"""Use cases of disputes."""

from typing import Final

import msgspec

from offerhub.disputes import store
from offerhub.disputes.model import Dispute, DisputeWithOrderAnswer, ListDisputes, OpenDispute
from offerhub.errors import DisputeAlreadyOpen, DisputeNotFound, InvalidSplit, InvalidState
from offerhub.escrows import service as escrows
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.orders import milestones, payout
from offerhub.orders import service as orders
from offerhub.orders.model import Decision, DisputeAnswer
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.sagas.engine import Engine

RESOLVE: Final = "dispute.resolve"
_FOUND: Final = "Raised on the escrow's contract itself while a payout was under way."


async def require(tx: Tx, marketplace_id: str, dispute_id: str) -> Dispute:
    """The dispute. Raises DisputeNotFound, also for one of another marketplace."""
    dispute = await store.get(tx, marketplace_id, dispute_id)
    if dispute is None:
        raise DisputeNotFound(disputeId=dispute_id[:64])
    return dispute


async def wire(tx: Tx, dispute: Dispute) -> DisputeWithOrderAnswer:
    """The dispute with its order."""
    order = await orders.require(tx, dispute.marketplace_id, dispute.order_id)
    view = await orders.view(tx, order)
    return DisputeWithOrderAnswer(**msgspec.structs.asdict(dispute.wire()), order=view.wire())


async def find(tx: Tx, marketplace_id: str, query: ListDisputes) -> list[DisputeAnswer]:
    """The disputes that match, newest first, without their orders."""
    return [dispute.wire() for dispute in await store.find(tx, marketplace_id, query)]


async def open_dispute(tx: Tx, actor: Actor, order_id: str, opened: OpenDispute) -> DisputeWithOrderAnswer:
    """Freeze an order in progress: of a multi-release one, what its milestones have not paid yet.

    Raises OrderNotFound, InvalidState, DisputeAlreadyOpen.
    """
    order = await orders.require(tx, actor.marketplace_id, order_id, lock=True)
    existing = await store.of_orders(tx, [order.id])
    if existing:
        raise DisputeAlreadyOpen(orderId=order.id, disputeId=existing[0].id, status=existing[0].status)
    escrow = await escrows.of_order(tx, order.id)
    if order.status != "IN_PROGRESS" or escrow is None:
        raise orders.invalid_state(order, ["IN_PROGRESS"])
    if order.escrow_type == "multi-release":
        await milestones.require_quiet(tx, order, escrow)
    dispute = await store.insert(tx, actor.marketplace_id, order.id, opened)
    assert dispute is not None, "the order is locked and had no dispute"
    await orders.move(tx, order, "DISPUTED", ["IN_PROGRESS"])
    await escrows.move(tx, escrow.id, "DISPUTED", ["FUNDED"])
    payload = {
        "disputeId": dispute.id,
        "orderId": order.id,
        "openedBy": dispute.opened_by,
        "reason": dispute.reason,
        "openedAt": to_wire(dispute.created_at),
    } | ({"evidence": dispute.evidence} if dispute.evidence else {})
    party = order.buyer_id if dispute.opened_by == "BUYER" else order.seller_id
    await record(
        tx,
        actor,
        events=[
            Event("dispute.opened", "Dispute", dispute.id, payload, party),
            Event("order.disputed", "Order", order.id, payload, party),
        ],
        audit=[AuditEntry("DISPUTE_OPENED", "Dispute", dispute.id, after=payload, user_id=party)],
    )
    return await wire(tx, dispute)


async def open_found(tx: Tx, actor: Actor, order_id: str) -> DisputeWithOrderAnswer:
    """Freeze an order in progress whose contract was found disputed, so that support decides.

    We raise disputes on contracts only to resolve them, so this one came from another hand. It counts as the
    seller's, since payouts are asked for by the buyer's side. Raises as `open_dispute`.
    """
    return await open_dispute(tx, actor, order_id, OpenDispute(openedBy="SELLER", reason="OTHER", evidence=[_FOUND]))


async def assign(
    tx: Tx, actor: Actor, dispute_id: str, assigned_to: str, notes: str | None
) -> DisputeWithOrderAnswer:
    """Take a dispute under review. Raises DisputeNotFound, InvalidState."""
    dispute = await require(tx, actor.marketplace_id, dispute_id)
    assigned = await store.assign(tx, dispute.id, assigned_to)
    if assigned is None:
        raise InvalidState(
            "Only an open dispute can be assigned.",
            disputeId=dispute.id,
            currentState=dispute.status,
            allowedStates=["OPEN"],
        )
    payload = {
        "disputeId": dispute.id,
        "orderId": dispute.order_id,
        "reviewedBy": assigned_to,
        "reviewStartedAt": to_wire(assigned.updated_at),
    } | ({"notes": notes} if notes else {})
    await record(
        tx,
        actor,
        events=[Event("dispute.under_review", "Dispute", dispute.id, payload)],
        audit=[AuditEntry("DISPUTE_ASSIGNED", "Dispute", dispute.id, {"status": dispute.status}, payload)],
    )
    return await wire(tx, assigned)


def split(decision: Decision, total: int, release: int | None, refund: int | None) -> tuple[int, int]:
    """What seller and buyer get, in units before fees. Raises InvalidSplit unless the parts are the whole."""
    if decision == "FULL_RELEASE":
        return total, 0
    if decision == "FULL_REFUND":
        return 0, total
    if release is None or refund is None or release + refund != total:
        raise InvalidSplit(
            orderAmount=format_amount(total),
            releaseAmount=None if release is None else format_amount(release),
            refundAmount=None if refund is None else format_amount(refund),
        )
    return release, refund


class Disputes:
    """Starting the resolution of disputes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def begin_resolve(
        self,
        tx: Tx,
        actor: Actor,
        dispute_id: str,
        decision: Decision,
        parts: tuple[int | None, int | None],
        note: str | None,
    ) -> str:
        """Start paying out what was decided; returns the saga's id.

        `parts` are what seller and buyer get in a SPLIT, before fees. Raises InvalidState, InvalidSplit.
        """
        dispute = await require(tx, actor.marketplace_id, dispute_id)
        order = await orders.require(tx, actor.marketplace_id, dispute.order_id, lock=True)
        if dispute.status != "UNDER_REVIEW":
            raise InvalidState(
                "Only a dispute under review can be resolved.",
                disputeId=dispute.id,
                currentState=dispute.status,
                allowedStates=["UNDER_REVIEW"],
            )
        escrow = await escrows.of_order(tx, order.id)
        assert escrow is not None
        is_multi = order.escrow_type == "multi-release"
        unpaid = await milestones.require_quiet(tx, order, escrow) if is_multi else []
        seller, buyer = split(decision, sum(row.amount for row in unpaid) if is_multi else order.amount, *parts)
        if is_multi:
            shares = milestones.share_out(unpaid, (await orders.view(tx, order)).milestones, seller)
            payout_values = await milestones.begin(tx, escrow, shares, by_resolver=True)
        else:
            intents = payout.resolve_intents(escrow, seller=seller, buyer=buyer)
            payout_values = {"intents": [intent.to_json() for intent in intents]}
        refunding = decision == "FULL_REFUND"
        await orders.move(tx, order, "REFUND_REQUESTED" if refunding else "RELEASE_REQUESTED", ["DISPUTED"])
        await escrows.move(tx, escrow.id, "REFUNDING" if refunding else "RELEASING", ["DISPUTED"])
        values = {
            "disputeId": dispute.id,
            "orderId": order.id,
            "escrowId": escrow.id,
            "decision": decision,
            "note": note,
            "seller": seller,
            "buyer": buyer,
            "resolvedBy": actor.credential_id,
        } | payout_values
        entry = AuditEntry(
            "DISPUTE_RESOLUTION_STARTED", "Dispute", dispute.id, None, {"decision": decision, "note": note}
        )
        return await self._engine.start(tx, actor, RESOLVE, order.id, values, audit=[entry])

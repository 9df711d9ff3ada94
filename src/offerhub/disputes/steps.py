"""What the saga of a dispute's resolution does."""

from collections.abc import Sequence

from offerhub.disputes import store
from offerhub.disputes.service import RESOLVE
from offerhub.errors import Refusal
from offerhub.escrows import service as escrows
from offerhub.escrows.steps import Contracts
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.orders import milestones, payout
from offerhub.orders import service as orders
from offerhub.orders.steps import payout_steps, reopen
from offerhub.runtime.database import Tx
from offerhub.sagas.model import Facts, Saga, Step


class Resolve:
    """Plan `dispute.resolve`: input `{disputeId, orderId, escrowId, decision, note, seller, buyer, intents, …}`.

    With `shares` of milestones each was booked as it was paid, and part of it by an earlier saga, if one was refused.
    """

    kind = RESOLVE

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts

    def steps(self, saga: Saga) -> Sequence[Step]:
        """Raise the dispute on the contract, and share its balance out."""
        return payout_steps(self._contracts, saga)

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """Book what the contract paid out, close the order, resolve the dispute."""
        values = saga.input
        order = await orders.require(tx, saga.marketplace_id, values["orderId"], lock=True)
        decision, seller, buyer = values["decision"], values["seller"], values["buyer"]
        if "shares" in values:
            seller, buyer = await _paid_since_opened(tx, saga)
            if (seller, buyer) != (values["seller"], values["buyer"]):
                decision = "SPLIT"
        dispute = await store.decide(tx, values["disputeId"], decision, values["note"], seller, buyer)
        assert dispute.resolved_at is not None
        payload = {
            "disputeId": dispute.id,
            "orderId": order.id,
            "decision": dispute.resolution_decision,
            "resolvedBy": values["resolvedBy"],
            "resolvedAt": to_wire(dispute.resolved_at),
            "buyerAmount": format_amount(buyer),
            "sellerAmount": format_amount(seller),
        } | ({"decisionNote": values["note"]} if values["note"] else {})
        resolved = Event("dispute.resolved", "Dispute", dispute.id, payload)
        end: payout.End = "REFUNDED" if dispute.resolution_decision == "FULL_REFUND" else "RELEASED"
        if "shares" in values:
            await milestones.finish(tx, saga.actor, order, [resolved])
        else:
            await payout.close(tx, saga.actor, order, end, facts[-1], seller_share=seller, extra=[resolved])
        await record(tx, saga.actor, audit=[AuditEntry("DISPUTE_RESOLVED", "Dispute", dispute.id, after=payload)])

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """The contract refused: the order is disputed again, and support decides anew."""
        await reopen(tx, saga, "DISPUTED", refusal)


async def _paid_since_opened(tx: Tx, saga: Saga) -> tuple[int, int]:
    """What seller and buyer got of milestones since the dispute froze them, in units before fees."""
    dispute = await store.get(tx, saga.marketplace_id, saga.input["disputeId"])
    assert dispute is not None
    rows = await escrows.milestones_of(tx, [saga.input["escrowId"]])
    paid = [row for row in rows if row.paid_at is not None and row.paid_at > dispute.created_at]
    return sum(row.seller_share for row in paid), sum(row.buyer_share for row in paid)

"""What the saga of a dispute's resolution does."""

from collections.abc import Sequence

from offerhub.disputes import store
from offerhub.disputes.service import RESOLVE
from offerhub.errors import Refusal
from offerhub.escrows.steps import Contracts, contract_steps
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.orders import payout
from offerhub.orders import service as orders
from offerhub.runtime.database import Tx
from offerhub.sagas.model import Facts, Saga, Step


class Resolve:
    """Plan `dispute.resolve`: input `{disputeId, orderId, escrowId, decision, note, seller, buyer, intents, …}`."""

    kind = RESOLVE

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts

    def steps(self, saga: Saga) -> Sequence[Step]:
        """Raise the dispute on the contract, and share its balance out."""
        return contract_steps(self._contracts, saga.input["intents"])

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """Book what the contract paid out, close the order, resolve the dispute."""
        values = saga.input
        order = await orders.require(tx, saga.marketplace_id, values["orderId"], lock=True)
        dispute = await store.decide(
            tx, values["disputeId"], values["decision"], values["note"], values["seller"], values["buyer"]
        )
        assert dispute.resolved_at is not None
        payload = {
            "disputeId": dispute.id,
            "orderId": order.id,
            "decision": dispute.resolution_decision,
            "resolvedBy": values["resolvedBy"],
            "resolvedAt": to_wire(dispute.resolved_at),
            "buyerAmount": format_amount(values["buyer"]),
            "sellerAmount": format_amount(values["seller"]),
        } | ({"decisionNote": values["note"]} if values["note"] else {})
        resolved = Event("dispute.resolved", "Dispute", dispute.id, payload)
        end: payout.End = "REFUNDED" if dispute.resolution_decision == "FULL_REFUND" else "RELEASED"
        await payout.close(tx, saga.actor, order, end, facts[-1], seller_share=values["seller"], extra=[resolved])
        await record(tx, saga.actor, audit=[AuditEntry("DISPUTE_RESOLVED", "Dispute", dispute.id, after=payload)])

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """The contract refused: the order is disputed again, and support decides anew."""
        await payout.reopen(tx, saga.actor, saga.input["orderId"], "DISPUTED", refusal)

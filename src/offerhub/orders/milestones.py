"""Paying the milestones of a multi-release escrow: each by itself, booked by the step that pays it.

The contract holds what its milestones have not paid yet, and so does the order's account in the books: the step that
pays a milestone posts it in the transaction that settles the step. A saga over several milestones that is refused
half way therefore leaves nothing to be made up for. The milestone that ends last closes the order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offerhub.errors import InvalidState, Refusal
from offerhub.escrows import service as escrows
from offerhub.escrows.model import Escrow, EscrowMilestone, MilestonePaid
from offerhub.escrows.states import ENDED
from offerhub.escrows.steps import COMPLETED, Contracts, ContractStep
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import Units, format_amount
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Entry
from offerhub.orders import payout, service, store
from offerhub.orders.model import Milestone, Order
from offerhub.orders.payout import Payout
from offerhub.orders.states import ORDER
from offerhub.providers.trustless_work.intents import (
    ApproveIntent,
    CallIntent,
    DisputeMilestoneIntent,
    ReleaseMilestoneIntent,
    ResolveMilestoneIntent,
    StatusIntent,
    read_intent,
)
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.sagas.model import Facts, Outcome, Saga, Step


@dataclass(frozen=True, slots=True)
class Share:
    """What was decided about a milestone, in units before fees. Both parts together are its amount."""

    row: EscrowMilestone
    seller: int
    buyer: int


def share_out(rows: Sequence[EscrowMilestone], milestones: Sequence[Milestone], seller: int) -> list[Share]:
    """Divide unpaid milestones so that the seller gets `seller` units of them, completed ones first.

    Whole milestones go to the one or the other; one at most is split, so that few transactions have to be made.
    """
    completed = {one.id: one.status == "COMPLETED" for one in milestones}
    shares, left = [], seller
    for row in sorted(rows, key=lambda row: (not completed[row.milestone_id], row.position)):
        part = min(left, row.amount)
        left -= part
        shares.append(Share(row, part, row.amount - part))
    assert left == 0, "the milestones hold at least what the seller gets"
    return shares


def payout_intents(escrow: Escrow, share: Share, *, by_resolver: bool) -> list[CallIntent]:
    """Everything that is left to do until a milestone is paid: mark, approve, release.

    Or raise a dispute and resolve it: where the resolver decides, where the buyer gets anything, and where there is
    one on the contract, which then can only be resolved.
    """
    row, contract, roles = share.row, escrow.contract, escrow.roles
    if by_resolver or share.buyer or row.disputed_on_chain:
        dispute = DisputeMilestoneIntent(contract, roles["approver"], row.position)
        resolve = ResolveMilestoneIntent(
            contract, roles["dispute_resolver"], row.position, _distributions(escrow, share)
        )
        return [resolve] if row.disputed_on_chain else [dispute, resolve]
    mark = StatusIntent(contract, roles["service_provider"], row.position, COMPLETED, "", "multi-release")
    approve = ApproveIntent(contract, roles["approver"], row.position, "multi-release")
    release = ReleaseMilestoneIntent(contract, roles["release_signer"], row.position)
    return [
        *([] if row.marked_on_chain else [mark]),
        *([] if row.approved_on_chain else [approve]),
        release,
    ]


def _distributions(escrow: Escrow, share: Share) -> tuple[tuple[str, Units], ...]:
    parts = [(escrow.roles["receiver"], share.seller), (escrow.depositor, share.buyer)]
    if escrow.treasury is not None:
        parts = [(escrow.treasury, share.row.amount)]
    return tuple((address, Units(amount)) for address, amount in parts if amount)


async def require_quiet(tx: Tx, order: Order, escrow: Escrow) -> list[EscrowMilestone]:
    """The milestones of a locked order that are not paid yet. Raises InvalidState while any is being paid."""
    rows = await escrows.milestones_of(tx, [escrow.id])
    paying = {row.milestone_id for row in rows if row.status == "PAYING"}
    if paying:
        refs = [one.ref for one in await store.milestones(tx, [order.id]) if one.id in paying]
        raise InvalidState(
            "Wait until the milestones that are being paid out have ended.",
            orderId=order.id,
            currentState=order.status,
            allowedStates=["IN_PROGRESS"],
            payingMilestones=refs,
        )
    return [row for row in rows if row.status == "UNPAID"]


async def begin(tx: Tx, escrow: Escrow, shares: Sequence[Share], *, by_resolver: bool = False) -> dict[str, Any]:
    """These milestones are being paid from now on; returns the input of the saga that does it.

    It holds everything that is left to do, and under `shares` what was decided: position to [seller, buyer].
    """
    await escrows.begin_paying(tx, escrow.id, [share.row.position for share in shares])
    intents = [intent for share in shares for intent in payout_intents(escrow, share, by_resolver=by_resolver)]
    return {
        "orderId": escrow.order_id,
        "escrowId": escrow.id,
        "intents": [intent.to_json() for intent in intents],
        "shares": {str(share.row.position): [share.seller, share.buyer] for share in shares},
    }


@dataclass(frozen=True, slots=True)
class PayMilestone:
    """The transaction that pays a milestone, and what it does to the books."""

    contract_step: ContractStep
    position: int
    seller: int
    buyer: int
    is_look: bool = False

    @property
    def name(self) -> str:
        """The contract's function."""
        return self.contract_step.name

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Make the transaction, or find out what became of it."""
        return await self.contract_step.attempt(saga, position)

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Book what was paid."""
        # The order first: whoever else changes it and its escrow locks them in this sequence.
        order = await service.require(tx, saga.marketplace_id, saga.input["orderId"], lock=True)
        await self.contract_step.settle(tx, saga, facts)
        await _book(tx, saga.actor, order, self, facts)


def payout_steps(contracts: Contracts, values: Mapping[str, Any]) -> list[Step]:
    """The steps of a saga with such an input, derived from it alone."""
    steps: list[Step] = []
    for stored in values["intents"]:
        intent = read_intent(stored)
        step = ContractStep(contracts, intent)
        if isinstance(intent, ReleaseMilestoneIntent | ResolveMilestoneIntent):
            seller, buyer = values["shares"][str(intent.milestone_index)]
            steps.append(PayMilestone(step, intent.milestone_index, seller, buyer))
        else:
            steps.append(step)
    return steps


async def _book(tx: Tx, actor: Actor, order: Order, paying: PayMilestone, facts: Facts) -> None:
    escrow = await escrows.of_order(tx, order.id)
    assert escrow is not None
    amount = paying.seller + paying.buyer
    done = payout.read_payout(escrow, facts, amount, paying.seller)
    outcome = MilestonePaid(
        paying.seller, paying.buyer, done.seller, done.buyer, done.platform_fee, done.protocol_fee, facts["hash"]
    )
    row = await escrows.paid(tx, escrow.id, paying.position, outcome)
    legs = payout.payout_legs(order, done, amount)
    kind = f"milestone_{row.status.lower()}"
    around = await ledger.post(
        tx, actor, Entry(f"milestone:{row.milestone_id}:payout", kind, order.id, legs, facts["hash"])
    )
    seller = around.get((order.seller_id, Kind.AVAILABLE))
    buyer = around.get((order.buyer_id, Kind.AVAILABLE))
    milestone = next(one for one in await store.milestones(tx, [order.id]) if one.id == row.milestone_id)
    assert row.paid_at is not None
    told = {
        "escrowId": escrow.id,
        "orderId": order.id,
        "milestoneRef": milestone.ref,
        "milestoneTitle": milestone.title,
        "currency": order.currency,
        "transactionHash": row.tx_hash,
        "paidAt": to_wire(row.paid_at),
    }
    events = payout.credited(order, done, seller, buyer)
    if seller is not None:
        part = _part(row.seller_share, row.seller_net)
        more = {"sellerId": order.seller_id, "newSellerBalance": format_amount(seller.after)}
        events.append(Event("escrow.milestone_released", "Order", order.id, told | part | more, order.seller_id))
    if buyer is not None:
        part = _part(row.buyer_share, row.buyer_net)
        more = {"buyerId": order.buyer_id, "newBuyerBalance": format_amount(buyer.after)}
        events.append(Event("escrow.milestone_refunded", "Order", order.id, told | part | more, order.buyer_id))
    after = told | {"status": row.status, "amount": format_amount(row.amount)}
    entry = AuditEntry(f"MILESTONE_{row.status}", "Order", order.id, {"status": "PAYING"}, after)
    await record(tx, actor, events=events, audit=[entry])


def _part(share: int, net: int) -> dict[str, str]:
    """One party's part of a milestone; `fees` is what it has borne of the contract's."""
    return {"amount": format_amount(share), "netAmount": format_amount(net), "fees": format_amount(share - net)}


async def finish(tx: Tx, actor: Actor, order: Order, extra: Sequence[Event] = ()) -> None:
    """Close a locked order once none of its milestones holds anything any more; `extra` is told then."""
    escrow = await escrows.of_order(tx, order.id)
    assert escrow is not None
    rows = await escrows.milestones_of(tx, [escrow.id])
    if not all(row.status in ENDED for row in rows):
        return
    total = Payout(
        seller=sum(row.seller_net for row in rows),
        buyer=sum(row.buyer_net for row in rows),
        platform_fee=sum(row.platform_fee for row in rows),
        protocol_fee=sum(row.protocol_fee for row in rows),
        surplus=0,
    )
    seller_was_paid = any(row.seller_share for row in rows)
    end: payout.End = "RELEASED" if seller_was_paid or order.status == "RELEASE_REQUESTED" else "REFUNDED"
    balances = [
        (await ledger.balances(tx, order.marketplace_id, user, [Kind.AVAILABLE]))[Kind.AVAILABLE] if paid else None
        for user, paid in ((order.seller_id, total.seller), (order.buyer_id, total.buyer))
    ]
    last = max(rows, key=lambda row: (row.paid_at, row.position))
    assert last.tx_hash is not None
    after = balances[0], balances[1]
    sources = ORDER.sources_of(end)
    await payout.end_order(tx, actor, order, escrow, end, total, {"hash": last.tx_hash}, after, sources, extra=extra)


async def give_up(tx: Tx, saga: Saga, why: Refusal) -> bool:
    """A saga was refused: what it has not paid stays in the contract.

    What the contract was seen to know by then is taken over. True when one of its unpaid milestones turned out to be
    disputed and we had raised no dispute about it.
    """
    escrow_id = saga.input["escrowId"]
    await escrows.stop_paying(tx, escrow_id, [int(position) for position in saga.input["shares"]])
    seen = why.details.get("contractState")
    return seen is not None and await escrows.learn_milestones(tx, escrow_id, seen["milestones"])


async def is_quiet(tx: Tx, escrow_id: str) -> bool:
    """True while none of an escrow's milestones is being paid."""
    return all(row.status != "PAYING" for row in await escrows.milestones_of(tx, [escrow_id]))

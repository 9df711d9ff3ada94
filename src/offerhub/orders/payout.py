"""Paying an escrow out: how a release, a refund or a resolved dispute ends in the books.

The books say what the chain did: each amount is read from the token transfers of the final transaction, net of the
fees that the contract charged (providers.md 5.6). One business key per order makes a second payout impossible,
whichever way the first one went. Those of multi-release escrows are in `milestones`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from offerhub.errors import InternalError, Refusal
from offerhub.escrows import service as escrows
from offerhub.escrows.model import Escrow
from offerhub.escrows.steps import COMPLETED
from offerhub.escrows.surplus import with_surplus
from offerhub.events import catalogue
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.findings.model import Found
from offerhub.findings.service import raise_finding
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import Units, format_amount, format_chain_amount
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Around, Entry, Leg
from offerhub.orders import service
from offerhub.orders.model import Order
from offerhub.providers.trustless_work.intents import (
    ApproveIntent,
    CallIntent,
    DisputeIntent,
    ReleaseIntent,
    ResolveIntent,
    StatusIntent,
)
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.sagas.model import Facts

End = Literal["RELEASED", "REFUNDED"]

log = structlog.get_logger("offerhub.orders")


def release_intents(escrow: Escrow) -> list[CallIntent]:
    """Everything that is left to do until the seller is paid: mark, approve, release.

    A contract on which a dispute was raised can only be resolved, so then the resolver pays the seller.
    """
    roles = escrow.roles
    if escrow.disputed_on_chain:
        return resolve_intents(escrow, seller=escrow.amount, buyer=0)
    count = len(escrow.terms["milestones"])
    contract = escrow.contract
    marks: list[CallIntent] = [
        StatusIntent(contract, roles["service_provider"], index, COMPLETED)
        for index in range(escrow.marked_on_chain, count)
    ]
    approvals = [
        ApproveIntent(contract, roles["approver"], index) for index in range(escrow.approved_on_chain, count)
    ]
    return [*marks, *approvals, ReleaseIntent(contract, roles["release_signer"])]


def resolve_intents(escrow: Escrow, *, seller: int, buyer: int) -> list[CallIntent]:
    """Raise a dispute on the contract, unless there is one, and share its whole balance out, before fees."""
    assert seller + buyer == escrow.amount
    roles = escrow.roles
    parts = [(roles["receiver"], seller), (escrow.depositor, buyer)]
    if escrow.treasury is not None:
        parts = [(escrow.treasury, escrow.amount)]
    resolution = ResolveIntent(
        escrow.contract,
        roles["dispute_resolver"],
        tuple((address, Units(amount)) for address, amount in parts if amount),
    )
    if escrow.disputed_on_chain:
        return [resolution]
    return [DisputeIntent(escrow.contract, roles["approver"]), resolution]


@dataclass(frozen=True, slots=True)
class Payout:
    """What left the contract, in units. `surplus` is what strangers had sent into it besides the order's money.

    `treasury` is what went to the treasury for seller and buyer together; 0 where they are paid themselves.
    """

    seller: int
    buyer: int
    platform_fee: int
    protocol_fee: int
    surplus: int
    treasury: int = 0


def read_payout(escrow: Escrow, facts: Facts, amount: int, seller_share: int) -> Payout:
    """The payout of `amount`, from the token transfers of the transaction that paid it.

    `seller_share` is the seller's part of it before fees. Raises InternalError when less left the contract: then
    nothing is booked, and the saga stands still for a person.
    """
    out = [moved for moved in facts["transfers"] if moved["from"] == escrow.contract]
    receiver, platform = escrow.roles["receiver"], escrow.roles["platform_address"]
    known = {receiver, escrow.depositor, platform}

    def paid_to(address: str) -> int:
        return sum(moved["amount"] for moved in out if moved["to"] == address)

    protocol_fee = sum(moved["amount"] for moved in out if moved["to"] not in known)
    total = sum(moved["amount"] for moved in out)
    if total < amount:
        raise InternalError(
            "the contract paid out less than what was asked for", contract=escrow.contract, hash=facts["hash"]
        )
    platform_fee, surplus = paid_to(platform), total - amount
    if escrow.treasury is None:
        return Payout(paid_to(receiver), paid_to(escrow.depositor), platform_fee, protocol_fee, surplus)
    arrived = paid_to(escrow.treasury)
    part, _ = with_surplus(seller_share, amount - seller_share, surplus)
    seller = share_of(arrived, part, total)
    return Payout(seller, arrived - seller, platform_fee, protocol_fee, surplus, arrived)


def share_of(arrived: int, seller_share: int, total: int) -> int:
    """The seller's part of what arrived for both, as the contract would have paid it: each bears fees by its share.

    The remainder of a division goes to the buyer, and to the seller where the buyer has no share.

    >>> share_of(997_000_000, 600_000_000, 1_000_000_000), share_of(997_000_001, 1_000_000_000, 1_000_000_000)
    (598200000, 997000001)
    """
    return arrived * seller_share // total


async def close(
    tx: Tx,
    actor: Actor,
    order: Order,
    end: End,
    facts: Facts,
    *,
    seller_share: int,
    extra: Sequence[Event] = (),
) -> None:
    """Book the payout and close the order and its escrow; `extra` events go into the same journal entry.

    `seller_share` is what was decided for the seller before fees, in units; the rest is the buyer's.
    """
    escrow = await escrows.of_order(tx, order.id)
    assert escrow is not None
    payout = read_payout(escrow, facts, escrow.amount, seller_share)
    entry = Entry(
        f"order:{order.id}:payout", end.lower(), order.id, payout_legs(order, payout, escrow.amount), facts["hash"]
    )
    around = await ledger.post(tx, actor, entry)
    seller = around.get((order.seller_id, Kind.AVAILABLE))
    buyer = around.get((order.buyer_id, Kind.AVAILABLE))
    after = None if seller is None else seller.after, None if buyer is None else buyer.after
    sources = ["RELEASE_REQUESTED"] if end == "RELEASED" else ["REFUND_REQUESTED"]
    before = credited(order, payout, seller, buyer)
    await end_order(tx, actor, order, escrow, end, payout, facts, after, sources, before, extra)


def payout_legs(order: Order, payout: Payout, amount: int) -> list[Leg]:
    """Where `amount` of what the order's contract held went."""
    marketplace = order.marketplace_id
    return [
        Leg(order.id, Kind.ESCROW, -amount),
        Leg(order.seller_id, Kind.AVAILABLE, payout.seller),
        Leg(order.buyer_id, Kind.AVAILABLE, payout.buyer),
        Leg(marketplace, Kind.FEES_PLATFORM, payout.platform_fee),
        Leg(marketplace, Kind.FEES_TRUSTLESS_WORK, payout.protocol_fee),
        Leg(marketplace, Kind.WORLD_STELLAR, payout.treasury - payout.surplus),
        Leg(marketplace, Kind.WORLD_TREASURY, -payout.treasury),
    ]


async def end_order(
    tx: Tx,
    actor: Actor,
    order: Order,
    escrow: Escrow,
    end: End,
    payout: Payout,
    facts: Facts,
    after: tuple[int | None, int | None],
    sources: Sequence[str],
    before: Sequence[Event] = (),
    extra: Sequence[Event] = (),
) -> None:
    """Close an order, in one of the states `sources`, whose contract has paid everything out, and tell so.

    `payout` is all of it together, `facts` are of its last transaction, `after` is what seller and buyer have
    available by now, None for whoever got nothing.
    `before` and `extra` events go into the same journal entry, in front and behind.
    """
    await escrows.move(tx, escrow.id, end)
    moved = await service.move(tx, order, end, sources)
    closed = await service.move(tx, moved, "CLOSED", [end], end)
    assert closed.closed_at is not None
    at = to_wire(closed.closed_at)
    summary = {
        "escrowId": escrow.id,
        "orderId": order.id,
        "transactionHash": facts["hash"],
        "amount": format_amount(order.amount),
    }
    if end == "RELEASED":
        summary |= {"sellerId": order.seller_id, "releasedAt": at}
    else:
        summary |= {"buyerId": order.buyer_id, "refundedAt": at}
    final = {"orderId": order.id, "finalStatus": end, "closedAt": at}
    events = [
        *before,
        _ended(order, end, payout, at, after),
        Event(f"escrow.{end.lower()}", "Escrow", escrow.id, summary, order.seller_id),
        Event("order.closed", "Order", order.id, final, order.buyer_id),
        *extra,
    ]
    audit = [AuditEntry(end, "Order", order.id, {"status": order.status}, {"status": closed.status} | summary)]
    await record(tx, actor, events=events, audit=audit)
    await _tell_surplus(tx, actor, escrow, payout, facts)


async def _tell_surplus(tx: Tx, actor: Actor, escrow: Escrow, payout: Payout, facts: Facts) -> None:
    """Tell what strangers had sent into the contract, where there was something: paid out along, or left in it."""
    left = int(facts.get("left", 0))
    if not payout.surplus and not left:
        return
    told = {
        "contractId": escrow.contract,
        "paidOut": format_chain_amount(payout.surplus),
        "leftInContract": format_chain_amount(left),
        "transactionHash": facts["hash"],
    }
    log.warning("escrow_surplus", escrow_id=escrow.id, **told)
    await record(tx, actor, audit=[AuditEntry("ESCROW_SURPLUS", "Escrow", escrow.id, after=told)])
    if left:
        found = Found(escrow.marketplace_id, "SURPLUS_LEFT", "Escrow", escrow.id, told, left)
        await raise_finding(tx, found, "sagas")


def credited(order: Order, payout: Payout, seller: Around | None, buyer: Around | None) -> list[Event]:
    """What seller and buyer hear of the money that they got; `Around` is their available balance around it."""
    events = []
    if seller is not None:
        events.append(catalogue.balance_credited(order.seller_id, payout.seller, "release", order.id, seller))
    if buyer is not None:
        events.append(catalogue.balance_credited(order.buyer_id, payout.buyer, "refund", order.id, buyer))
    return events


def _ended(order: Order, end: End, payout: Payout, at: str, after: tuple[int | None, int | None]) -> Event:
    seller, buyer = (None if units is None else format_amount(units) for units in after)
    fees = {"platformFee": format_amount(payout.platform_fee), "protocolFee": format_amount(payout.protocol_fee)}
    common = {"orderId": order.id, "amount": format_amount(order.amount), "currency": order.currency} | fees
    if end == "RELEASED":
        more = {
            "sellerId": order.seller_id,
            "netAmount": format_amount(payout.seller),
            "releasedAt": at,
            "newSellerBalance": seller,
        }
        return Event("order.released", "Order", order.id, common | more, order.seller_id)
    more = {
        "buyerId": order.buyer_id,
        "netAmount": format_amount(payout.buyer),
        "refundedAt": at,
        "newBuyerBalance": buyer,
    }
    return Event("order.refunded", "Order", order.id, common | more, order.buyer_id)


async def reopen(
    tx: Tx, actor: Actor, order_id: str, back_to: Literal["IN_PROGRESS", "DISPUTED"], why: Refusal
) -> bool:
    """A payout was refused: order and escrow go back to where they were, and the money stays in the contract.

    What the contract was seen to know by then is taken over, so that the next try asks for what it allows. True when
    it turned out to be disputed and we had raised no dispute there.
    """
    order = await service.require(tx, actor.marketplace_id, order_id, lock=True)
    escrow = await escrows.of_order(tx, order.id)
    assert escrow is not None
    await escrows.move(
        tx, escrow.id, "FUNDED" if back_to == "IN_PROGRESS" else "DISPUTED", ["RELEASING", "REFUNDING"]
    )
    await service.move(tx, order, back_to, ["RELEASE_REQUESTED", "REFUND_REQUESTED"])
    after = {"status": back_to, "reason": why.code}
    entry = AuditEntry("PAYOUT_REFUSED", "Order", order.id, {"status": order.status}, after, "FAILURE")
    await record(tx, actor, audit=[entry])
    seen = why.details.get("contractState")
    if escrow.escrow_type == "multi-release" or seen is None or seen["released"] or seen["resolved"]:
        return False
    return (await escrows.learn(tx, escrow.id, seen)).disputed_on_chain and not escrow.disputed_on_chain


async def require_payable(tx: Tx, actor: Actor, order_id: str) -> tuple[Order, Escrow]:
    """A locked order IN_PROGRESS with its funded escrow. Raises OrderNotFound, InvalidState."""
    order = await service.require(tx, actor.marketplace_id, order_id, lock=True)
    escrow = await escrows.of_order(tx, order.id)
    if order.status != "IN_PROGRESS" or escrow is None or escrow.status != "FUNDED":
        raise service.invalid_state(order, ["IN_PROGRESS"])
    return order, escrow

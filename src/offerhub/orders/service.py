"""Use cases of orders, up to the moment where a saga takes over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from offerhub.disputes.reading import dispute_wire_of
from offerhub.errors import (
    EscrowAlreadyExists,
    EscrowNotReady,
    InvalidState,
    MilestoneNotFound,
    OrderNotFound,
)
from offerhub.escrows import service as escrows
from offerhub.escrows.model import Escrow, EscrowMilestone
from offerhub.events import catalogue
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.kernel.clock import Clock, to_wire
from offerhub.kernel.money import format_amount
from offerhub.kernel.pages import Page
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Hold
from offerhub.orders import store
from offerhub.orders.model import ListOrders, Milestone, MilestoneAnswer, Order, OrderView
from offerhub.orders.states import CANCELLABLE
from offerhub.providers.stellar.network import Network
from offerhub.providers.trustless_work.intents import DeployIntent, FundIntent
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.sagas.engine import Engine
from offerhub.wallets.service import require_ready, require_system

DEPLOY: Final = "escrow.deploy"
FUND: Final = "escrow.fund"
CONTRACT_TITLE_CHARACTERS_MAX: Final = 100
CONTRACT_DESCRIPTION_CHARACTERS_MAX: Final = 500
"""Trustless Work's own limits (providers.md 4.3); longer texts stay whole on the order."""


def order_hold(order: Order) -> Hold:
    """The buyer's money set aside for this order."""
    return Hold(order.buyer_id, "order", order.id)


def invalid_state(order: Order, allowed: Sequence[str], message: str | None = None) -> InvalidState:
    """The refusal of a move that the order's state does not allow."""
    return InvalidState(message, orderId=order.id, currentState=order.status, allowedStates=list(allowed))


async def require(tx: Tx, marketplace_id: str, order_id: str, *, lock: bool = False) -> Order:
    """The order. Raises OrderNotFound, also for an order of another marketplace."""
    order = await store.get(tx, marketplace_id, order_id, lock=lock)
    if order is None:
        raise OrderNotFound(orderId=order_id[:64])
    return order


async def find(tx: Tx, order_id: str) -> Order | None:
    """The order of whichever marketplace, for what a provider tells."""
    return await store.find(tx, order_id)


async def move(tx: Tx, order: Order, to: str, sources: Sequence[str], final_status: str | None = None) -> Order:
    """Move a locked order. Raises InvalidState when its state is none of the sources."""
    moved = await store.move(tx, order.id, to, sources, final_status)
    if moved is None:
        raise invalid_state(order, sources)
    return moved


async def view(tx: Tx, order: Order) -> OrderView:
    """The order with milestones, escrow and dispute."""
    return (await views(tx, [order]))[0]


async def views(tx: Tx, orders: Sequence[Order]) -> list[OrderView]:
    """Orders with milestones, escrows and disputes, in three round trips however many there are.

    A fourth is for the payouts of multi-release orders, if there are any.
    """
    ids = [order.id for order in orders]
    contracts = await escrows.of_orders(tx, ids)
    disputes = await dispute_wire_of(tx, ids)
    milestones: dict[str, list[Milestone]] = {order_id: [] for order_id in ids}
    for milestone in await store.milestones(tx, ids):
        milestones[milestone.order_id].append(milestone)
    multi = [escrow.id for escrow in contracts.values() if escrow.escrow_type == "multi-release"]
    payouts = {one.milestone_id: one for one in await escrows.milestones_of(tx, multi)} if multi else {}
    return [
        OrderView(order, milestones[order.id], contracts.get(order.id), disputes.get(order.id), payouts)
        for order in orders
    ]


def milestone_state(order: Order, ref: str, current: str, allowed: Sequence[str]) -> InvalidState:
    """The refusal of a move that the state of a milestone's money does not allow."""
    return InvalidState(
        "The milestone's money has been paid out, or is on its way.",
        orderId=order.id,
        milestoneRef=ref,
        currentState=current,
        allowedStates=list(allowed),
    )


async def require_milestone(
    tx: Tx, actor: Actor, order_id: str, ref: str
) -> tuple[Order, Milestone, EscrowMilestone | None]:
    """A locked order IN_PROGRESS, one of its milestones, and that one's payout in a multi-release escrow.

    Raises OrderNotFound, MilestoneNotFound, InvalidState.
    """
    order = await require(tx, actor.marketplace_id, order_id, lock=True)
    seen = await view(tx, order)
    milestone = next((one for one in seen.milestones if one.ref == ref), None)
    if milestone is None:
        raise MilestoneNotFound(orderId=order.id, milestoneRef=ref[:100])
    if order.status != "IN_PROGRESS":
        raise invalid_state(order, ["IN_PROGRESS"])
    return order, milestone, seen.payouts.get(milestone.id)


@dataclass(frozen=True, slots=True)
class EscrowPolicy:
    """What goes into every contract: the platform's fee, the asset, and whether the treasury pays it in."""

    platform_fee_bps: int
    network: Network
    treasury: bool = False


class Orders:
    """Reading and cancelling; starting escrow deployment and funding."""

    def __init__(self, engine: Engine, policy: EscrowPolicy, clock: Clock) -> None:
        self._engine = engine
        self._policy = policy
        self._clock = clock

    async def list(
        self, tx: Tx, marketplace_id: str, query: ListOrders, after: datetime | None, before: datetime | None
    ) -> Page:
        """One page of the orders that were created between two times, which are not included; newest first."""
        found = await store.page(tx, marketplace_id, query, after, before)
        return Page([one.wire() for one in await views(tx, found.items)], found.next_cursor)

    async def cancel(self, tx: Tx, actor: Actor, order_id: str, reason: str | None) -> OrderView:
        """Close an order before its escrow is funded, and give the reservation back.

        Raises InvalidState, EscrowNotReady while the funding is on its way. A deployed contract stays behind, empty.
        """
        order = await require(tx, actor.marketplace_id, order_id, lock=True)
        escrow = await escrows.of_order(tx, order.id)
        if order.status == "ESCROW_FUNDING" and (escrow is None or escrow.status != "CREATED"):
            raise _escrow_not_ready(order, escrow)
        moved = await move(tx, order, "CLOSED", CANCELLABLE, "CANCELED")
        events = []
        released = order.status != "ORDER_CREATED"
        if released:
            around = await ledger.void(tx, actor, f"order:{order.id}:cancel", order_hold(order), order.amount)
            available, reserved = around[order.buyer_id, Kind.AVAILABLE], around[order.buyer_id, Kind.RESERVED]
            events.append(
                catalogue.balance_released(order.buyer_id, order.amount, order.id, available, reserved, "cancel")
            )
        assert moved.closed_at is not None
        payload = {
            "orderId": order.id,
            "buyerId": order.buyer_id,
            "canceledBy": actor.credential_id,
            "canceledAt": to_wire(moved.closed_at),
            "fundsReleased": released,
        } | ({"reason": reason} if reason else {})
        events.append(Event("order.canceled", "Order", order.id, payload, order.buyer_id))
        entry = AuditEntry("ORDER_CANCELLED", "Order", order.id, {"status": order.status}, payload)
        await record(tx, actor, events=events, audit=[entry])
        return await view(tx, moved)

    async def complete_milestone(self, tx: Tx, actor: Actor, order_id: str, ref: str) -> MilestoneAnswer:
        """Mark a milestone as done. Raises InvalidState, MilestoneNotFound."""
        order, milestone, payout = await require_milestone(tx, actor, order_id, ref)
        if payout is not None and payout.status != "UNPAID":
            raise milestone_state(order, ref, payout.status, ["UNPAID"])
        done = await store.complete_milestone(tx, order.id, ref)
        if done is None:
            raise InvalidState(
                "The milestone is completed already.",
                orderId=order.id,
                milestoneRef=ref,
                currentState=milestone.status,
                allowedStates=["OPEN"],
            )
        escrow = await escrows.of_order(tx, order.id)
        assert escrow is not None
        assert done.completed_at is not None
        payload = {
            "escrowId": escrow.id,
            "orderId": order.id,
            "milestoneRef": ref,
            "milestoneTitle": done.title,
            "amount": format_amount(done.amount),
            "completedAt": to_wire(done.completed_at),
        }
        await record(
            tx,
            actor,
            events=[Event("escrow.milestone_completed", "Order", order.id, payload, order.seller_id)],
            audit=[AuditEntry("MILESTONE_COMPLETED", "Order", order.id, after=payload)],
        )
        return done.wire(payout)

    async def begin_escrow(self, tx: Tx, actor: Actor, order_id: str) -> str:
        """Start the deployment of the order's contract; returns the saga's id.

        Raises InvalidState, EscrowAlreadyExists, WalletNotReady.
        """
        order = await require(tx, actor.marketplace_id, order_id, lock=True)
        if await escrows.of_order(tx, order.id) is not None:
            raise EscrowAlreadyExists(orderId=order.id, currentState=order.status)
        moved = await move(tx, order, "ESCROW_CREATING", ["FUNDS_RESERVED"])
        escrow = await self._insert_escrow(tx, moved)
        intent = DeployIntent(signer=escrow.roles["approver"], terms=escrow.contract_terms())
        entry = AuditEntry("ESCROW_CREATING", "Order", order.id, {"status": order.status}, {"escrowId": escrow.id})
        values = {"orderId": order.id, "escrowId": escrow.id, "intents": [intent.to_json()]}
        return await self._engine.start(tx, actor, DEPLOY, order.id, values, audit=[entry])

    async def _insert_escrow(self, tx: Tx, order: Order) -> Escrow:
        buyer = await require_ready(tx, order.marketplace_id, order.buyer_id)
        seller = await require_ready(tx, order.marketplace_id, order.seller_id)
        platform, resolver = await require_system(tx, "platform"), await require_system(tx, "resolver")
        treasury = (await require_system(tx, "treasury")).public_key if self._policy.treasury else None
        parts = await store.milestones(tx, [order.id])
        milestones = [milestone.title for milestone in parts]
        network = self._policy.network
        terms: dict[str, Any] = {
            "title": order.title[:CONTRACT_TITLE_CHARACTERS_MAX],
            "description": (order.description or order.title)[:CONTRACT_DESCRIPTION_CHARACTERS_MAX],
            "milestones": milestones or [order.title[:CONTRACT_TITLE_CHARACTERS_MAX]],
            "has_milestones": bool(milestones),
            "issuer": network.usdc_issuer,
            "asset_code": network.usdc_code,
        }
        if order.escrow_type == "multi-release":
            terms["milestone_amounts"] = [part.amount for part in parts]
        roles = {
            "approver": buyer.public_key,
            "service_provider": seller.public_key,
            "platform_address": platform.public_key,
            "release_signer": buyer.public_key,
            "dispute_resolver": resolver.public_key,
            "receiver": treasury or seller.public_key,
        }
        fee = self._policy.platform_fee_bps
        escrow = await escrows.insert(tx, order.marketplace_id, order.id, order.amount, fee, terms, roles, treasury)
        assert escrow is not None, "the order is locked and had no escrow"
        if order.escrow_type == "multi-release":
            await escrows.insert_milestones(
                tx, order.marketplace_id, escrow.id, [(part.id, part.amount) for part in parts]
            )
        return escrow

    async def begin_fund(self, tx: Tx, actor: Actor, order_id: str) -> str:
        """Start funding the contract from the buyer's wallet, or from the treasury; returns the saga's id.

        Raises InvalidState, EscrowNotReady. A wallet that holds too little on the chain ends the saga with
        WalletShortfall and leaves the reservation as it was.
        """
        order = await require(tx, actor.marketplace_id, order_id, lock=True)
        if order.status != "ESCROW_FUNDING":
            raise invalid_state(order, ["ESCROW_FUNDING"])
        escrow = await escrows.of_order(tx, order.id)
        if escrow is None or escrow.status != "CREATED":
            raise _escrow_not_ready(order, escrow)
        await escrows.move(tx, escrow.id, "FUNDING")
        intent = FundIntent(
            contract_id=escrow.contract,
            signer=escrow.depositor,
            amount=escrow.amount,
            terms=escrow.contract_terms(),
        )
        facts = {
            "orderId": order.id,
            "escrowId": escrow.id,
            "trustlessContractId": escrow.contract,
            "amount": format_amount(order.amount),
        }
        events = [
            Event("order.escrow_funding", "Order", order.id, facts, order.buyer_id),
            Event("escrow.funding_started", "Escrow", escrow.id, facts, order.buyer_id),
        ]
        values = {
            "orderId": order.id,
            "escrowId": escrow.id,
            "treasury": escrow.treasury is not None,
            "intents": [intent.to_json()],
        }
        return await self._engine.start(tx, actor, FUND, order.id, values, events=events)


def _escrow_not_ready(order: Order, escrow: Escrow | None) -> EscrowNotReady:
    current = None if escrow is None else escrow.status
    return EscrowNotReady(orderId=order.id, currentState=current, allowedStates=["CREATED"])

"""How an order begins: created, and its buyer's money set aside. Both are performed by the database whole."""

from typing import Final

from offerhub.errors import (
    FundsAlreadyReserved,
    InvalidRequest,
    InvalidState,
    OrderNotFound,
    OrderRefReused,
    Refusal,
    ReserveMismatchAmount,
)
from offerhub.events import catalogue
from offerhub.events.journal import AuditEntry, Event, rows
from offerhub.kernel.money import format_amount
from offerhub.orders import service, store
from offerhub.orders.model import OrderView, not_stored_yet
from offerhub.orders.store import NewOrder
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Raised, Tx
from offerhub.runtime.routes import Answer
from offerhub.runtime.statements import Places, Statement, place, template
from offerhub.users.service import refusal_of_user_or_books

ELSEWHERE: Final = "OH014"
"""What PostgreSQL says of an order in another state."""


def create(actor: Actor, new: NewOrder) -> Statement:
    """A new order. Otherwise, with 200, the same one again for a known client reference.

    Refused with UserNotFound, UserNotActive, OrderRefReused; raises InvalidRequest for one user on both sides.
    """
    if new.buyer_id == new.seller_id:
        raise InvalidRequest("buyer and seller must be two different users", userId=new.buyer_id[:64])
    order, milestones = new.made(actor.marketplace_id)
    payload = {
        "orderId": order.id,
        "buyerId": order.buyer_id,
        "sellerId": order.seller_id,
        "amount": format_amount(order.amount),
        "currency": order.currency,
        "title": order.title,
    }
    optional = {
        "description": order.description,
        "clientOrderRef": order.client_order_ref,
        "escrowType": None if order.escrow_type == "single-release" else order.escrow_type,
    }
    payload |= {name: value for name, value in optional.items() if value is not None}
    event = Event("order.created", "Order", order.id, payload, order.buyer_id)
    entry = AuditEntry("ORDER_CREATED", "Order", order.id, after=payload, user_id=order.buyer_id)
    events, audit = rows(actor, [event], [entry])
    request = {
        "marketplace": actor.marketplace_id,
        "actor": actor.for_audit(),
        "order": {
            "id": order.id,
            "reference": order.client_order_ref,
            "buyer": order.buyer_id,
            "seller": order.seller_id,
            "amount": order.amount,
            "currency": order.currency,
            "title": order.title,
            "description": order.description,
            "metadata": order.metadata,
            "escrow_type": order.escrow_type,
        },
        "milestones": [
            {"id": one.id, "ref": one.ref, "title": one.title, "amount": one.amount} for one in milestones
        ],
        "events": events,
        "audit": audit,
    }

    async def existing(tx: Tx) -> Answer:
        assert new.client_order_ref is not None
        found = await service.view(tx, await store.by_client_ref(tx, actor.marketplace_id, new.client_order_ref))
        if not _same_terms(found, new):
            raise OrderRefReused(client_order_ref=new.client_order_ref, orderId=found.order.id)
        return Answer(found.wire(), 200)

    turn = f"{actor.marketplace_id} {new.client_order_ref or order.id}"
    answer = not_stored_yet(order, milestones)
    return Statement("create_order", turn, request, answer, refusal_of_user_or_books, existing)


def _same_terms(existing: OrderView, new: NewOrder) -> bool:
    order = existing.order
    return (order.buyer_id, order.seller_id, order.amount, order.currency, order.title, order.escrow_type) == (
        new.buyer_id,
        new.seller_id,
        new.amount,
        new.currency,
        new.title,
        new.escrow_type,
    ) and [(one.ref, one.title, int(one.amount)) for one in existing.milestones] == [
        tuple(milestone) for milestone in new.milestones
    ]


async def reserve(tx: Tx, actor: Actor, order_id: str, amount: int | None) -> Statement:
    """Set the buyer's money aside. Only looks at the order, whose terms never change; its state the database moves.

    Refused with InvalidState, FundsAlreadyReserved, InsufficientFunds, UserNotActive; raises OrderNotFound,
    ReserveMismatchAmount.
    """
    found = await store.before_reservation(tx, actor.marketplace_id, order_id)
    if found is None:
        raise OrderNotFound(orderId=order_id[:64])
    order, in_parts = found
    if amount is not None and amount != order.amount:
        raise ReserveMismatchAmount(provided=format_amount(amount), expected=format_amount(order.amount))
    available, reserved = Places(place(1), place(2)), Places(place(3), place(4))
    payload = {
        "orderId": order.id,
        "buyerId": order.buyer_id,
        "amount": format_amount(order.amount),
        "currency": order.currency,
        "reservedBalance": reserved.becomes,
        "availableBalance": available.becomes,
    }
    told = [
        catalogue.balance_reserved(order.buyer_id, order.amount, order.id, available, reserved),
        Event("order.funds_reserved", "Order", order.id, payload, order.buyer_id),
    ]
    entry = AuditEntry("FUNDS_RESERVED", "Order", order.id, {"status": "ORDER_CREATED"}, payload)
    events, audit = rows(actor, told, [entry])
    request = {
        "marketplace": actor.marketplace_id,
        "actor": actor.for_audit(),
        "order": {"id": order.id, "buyer": order.buyer_id, "amount": order.amount},
        "post": {"key": f"order:{order.id}:reserve", "actor": actor.credential_id},
        "events": template(events),
        "audit": template(audit),
    }
    # No escrow and no dispute yet: those begin from here.
    milestones = await store.milestones(tx, [order.id]) if in_parts else []
    answer = OrderView(order, milestones, None, None).wire()
    answer.status, answer.updatedAt = "FUNDS_RESERVED", place(5)

    def refusal(raised: Raised) -> Refusal | None:
        if raised.code != ELSEWHERE:
            return refusal_of_user_or_books(raised)
        state = raised.facts["status"]
        details = {"orderId": order.id, "currentState": state, "allowedStates": ["ORDER_CREATED"]}
        return FundsAlreadyReserved(**details) if state == "FUNDS_RESERVED" else InvalidState(**details)

    return Statement("reserve_order", order.buyer_id, request, answer, refusal)

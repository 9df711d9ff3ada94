"""The endpoints of orders and their resolution (contract 2.7, 2.8)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from offerhub.errors import (
    EscrowAlreadyExists,
    EscrowFundingFailed,
    EscrowNotReady,
    FundsAlreadyReserved,
    InsufficientFunds,
    InvalidAmount,
    InvalidAmountFormat,
    InvalidCurrency,
    InvalidRequest,
    InvalidState,
    MilestoneNotFound,
    OrderNotFound,
    OrderRefReused,
    Refusal,
    ReserveMismatchAmount,
    StellarNetworkError,
    UserNotActive,
    UserNotFound,
    WalletNotReady,
    invalid_field,
)
from offerhub.escrows.steps import REFUSALS
from offerhub.kernel.money import format_amount
from offerhub.kernel.pages import Page
from offerhub.ledger.amounts import known_currency, positive_amount
from offerhub.orders import opening, service
from offerhub.orders.model import (
    SDK_ONLY_STATUSES,
    CancelBody,
    CreateOrder,
    ListOrders,
    MilestoneAnswer,
    MilestoneBody,
    OrderAnswer,
    RefundBody,
    ReleaseBody,
    ReserveBody,
)
from offerhub.orders.resolution import Resolution
from offerhub.orders.service import Orders
from offerhub.orders.states import ORDER
from offerhub.orders.store import NewMilestone, NewOrder
from offerhub.providers.trustless_work.intents import EscrowType
from offerhub.runtime.database import Tx
from offerhub.runtime.routes import DAY_SECONDS, Body, Call, Deferred, Envelope, Handler, Route, Shape, first
from offerhub.runtime.statements import Statement

ORDER_IDEMPOTENCY_SECONDS: Final = 7 * DAY_SECONDS


def _present(text: str | None) -> str:
    assert text is not None, "the body says that one of its names is required"
    return text


def _amount(field: str, text: str) -> int:
    try:
        return positive_amount(text)
    except InvalidAmountFormat as error:
        raise InvalidAmount(f"{field}: {error.message}", field=field, **error.details) from error


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise invalid_field(name, f"{name} must be an ISO 8601 time with an offset, such as 2026-01-31T12:00:00Z")


def _milestones(total: int, sent: list[MilestoneBody]) -> tuple[NewMilestone, ...]:
    """Check the parts against the whole; exactly one part may leave its amount out and gets the remainder."""
    named = [
        (
            _present(first(one.milestone_ref, one.ref)),
            _present(first(one.title, one.description)),
            None if one.amount is None else _amount(f"milestones[{place}].amount", one.amount),
        )
        for place, one in enumerate(sent)
    ]
    if len({ref for ref, _, _ in named}) != len(named):
        raise invalid_field("milestones", "milestone_ref must be unique within an order")
    given = sum(amount for _, _, amount in named if amount is not None)
    open_parts = sum(amount is None for _, _, amount in named)
    remainder = total - given
    if open_parts > 1 or (open_parts == 1 and remainder <= 0) or (open_parts == 0 and named and remainder != 0):
        raise InvalidAmount(
            "The milestones' amounts must add up to the order's amount.", field="milestones", sum=format_amount(given)
        )
    return tuple(NewMilestone(ref, title, remainder if amount is None else amount) for ref, title, amount in named)


def _new_order(body: CreateOrder) -> NewOrder:
    amount = _amount("amount", body.amount)
    escrow_type: EscrowType = body.escrow_type or body.escrowType or "single-release"
    if escrow_type == "multi-release" and not body.milestones:
        raise invalid_field("milestones", "a multi-release order has at least one milestone")
    return NewOrder(
        client_order_ref=body.client_order_ref,
        buyer_id=_present(first(body.buyer_id, body.buyerId)),
        seller_id=_present(first(body.seller_id, body.sellerId)),
        amount=amount,
        currency=known_currency(body.currency),
        title=body.title,
        description=body.description,
        metadata=body.metadata,
        milestones=_milestones(amount, body.milestones),
        escrow_type=escrow_type,
    )


async def _order_wire(tx: Tx, marketplace_id: str, order_id: str) -> OrderAnswer:
    return (await service.view(tx, await service.require(tx, marketplace_id, order_id))).wire()


def _deferred(call: Call, saga_id: str) -> Deferred:
    """Wait for the saga, then answer with the order as it stands."""
    marketplace_id, order_id = call.actor.marketplace_id, call.path["order_id"]
    return Deferred(saga_id, lambda tx: _order_wire(tx, marketplace_id, order_id))


async def _resume(call: Call, saga_id: str) -> OrderAnswer:
    return await _order_wire(call.tx, call.actor.marketplace_id, call.path["order_id"])


def _order_handlers(orders: Orders) -> dict[str, Handler]:
    async def create(call: Call) -> Statement:
        return opening.create(call.actor, _new_order(call.body))

    async def list_orders(call: Call) -> Page:
        query: ListOrders = call.query
        if query.status in SDK_ONLY_STATUSES:
            return Page([], None)
        if query.status is not None and query.status not in ORDER.states:
            raise invalid_field("status", f"status must be one of {', '.join(sorted(ORDER.states))}")
        after, before = _moment("created_after", query.created_after), _moment("created_before", query.created_before)
        return await orders.list(call.tx, call.actor.marketplace_id, query, after, before)

    async def reserve(call: Call) -> Statement:
        body: ReserveBody = call.body
        amount = None if body.amount is None else _amount("amount", body.amount)
        return await opening.reserve(call.tx, call.actor, call.path["order_id"], amount)

    async def cancel(call: Call) -> OrderAnswer:
        return (await orders.cancel(call.tx, call.actor, call.path["order_id"], call.body.reason)).wire()

    async def complete(call: Call) -> MilestoneAnswer:
        return await orders.complete_milestone(call.tx, call.actor, call.path["order_id"], call.path["ref"])

    return {"create": create, "list": list_orders, "reserve": reserve, "cancel": cancel, "complete": complete}


def _chain_handlers(orders: Orders, resolution: Resolution) -> dict[str, Handler]:
    async def escrow(call: Call) -> Deferred:
        return _deferred(call, await orders.begin_escrow(call.tx, call.actor, call.path["order_id"]))

    async def fund(call: Call) -> Deferred:
        return _deferred(call, await orders.begin_fund(call.tx, call.actor, call.path["order_id"]))

    async def release(call: Call) -> Deferred:
        body: ReleaseBody = call.body
        saga = await resolution.begin_release(call.tx, call.actor, call.path["order_id"], body.reason)
        return _deferred(call, saga)

    async def refund(call: Call) -> Deferred:
        body: RefundBody = call.body
        saga = await resolution.begin_refund(call.tx, call.actor, call.path["order_id"], body.reason)
        return _deferred(call, saga)

    async def release_milestone(call: Call) -> Deferred:
        body: ReleaseBody = call.body
        order_id, ref = call.path["order_id"], call.path["ref"]
        saga = await resolution.begin_milestone_release(call.tx, call.actor, order_id, ref, body.reason)
        return _deferred(call, saga)

    async def refund_milestone(call: Call) -> Deferred:
        body: RefundBody = call.body
        order_id, ref = call.path["order_id"], call.path["ref"]
        saga = await resolution.begin_milestone_refund(call.tx, call.actor, order_id, ref, body.reason)
        return _deferred(call, saga)

    return {
        "escrow": escrow,
        "fund": fund,
        "release": release,
        "refund": refund,
        "release_milestone": release_milestone,
        "refund_milestone": refund_milestone,
    }


async def _read(call: Call) -> OrderAnswer:
    return await _order_wire(call.tx, call.actor.marketplace_id, call.path["order_id"])


async def _milestones_of(call: Call) -> list[MilestoneAnswer]:
    order = await service.require(call.tx, call.actor.marketplace_id, call.path["order_id"])
    return (await service.view(call.tx, order)).milestones_wire()


def _get(path: str, name: str, summary: str, handler: Handler, **more: Any) -> Route:
    envelope = more.pop("envelope", Envelope.SUCCESS)
    more.setdefault("answer", OrderAnswer)
    return Route("GET", path, name, summary, handler, "read", "orders", envelope, unit="read", **more)


def _post(
    path: str,
    name: str,
    summary: str,
    handler: Handler,
    *errors: type[Refusal],
    body: type[Body] | None = None,
    body_optional: bool = True,
    status: int = 200,
    also: tuple[int, ...] = (),
    resume: Callable[[Call, str], Awaitable[Any]] | None = None,
    answer: type[Shape] = OrderAnswer,
    at_once: bool = False,
    looks_first: bool = False,
) -> Route:
    return Route(
        "POST",
        path,
        name,
        summary,
        handler,
        "write",
        "orders",
        Envelope.SUCCESS,
        status=status,
        also=also,
        body=body,
        body_optional=body_optional,
        idempotency_seconds=ORDER_IDEMPOTENCY_SECONDS,
        errors=errors,
        resume=resume,
        answer=answer,
        at_once=at_once,
        looks_first=looks_first,
    )


def routes(orders: Orders, resolution: Resolution) -> tuple[Route, ...]:
    """Declare the endpoints."""
    handle = _order_handlers(orders) | _chain_handlers(orders, resolution)
    one = "/orders/{order_id}"
    moved = (OrderNotFound, InvalidState)
    return (
        _post(
            "/orders",
            "orders.create",
            "Create an order, or answer the same one for a known client_order_ref (200)",
            handle["create"],
            InvalidAmount,
            InvalidCurrency,
            InvalidRequest,
            UserNotFound,
            UserNotActive,
            OrderRefReused,
            body=CreateOrder,
            body_optional=False,
            status=201,
            also=(200,),
            at_once=True,
        ),
        _get(
            "/orders",
            "orders.list",
            "List orders, newest first",
            handle["list"],
            query=ListOrders,
            envelope=Envelope.LIST,
        ),
        _get(one, "orders.get", "Read an order", _read, errors=(OrderNotFound,)),
        _post(
            f"{one}/reserve",
            "orders.reserve",
            "Set the buyer's money aside",
            handle["reserve"],
            *moved,
            InvalidAmount,
            InsufficientFunds,
            FundsAlreadyReserved,
            UserNotActive,
            ReserveMismatchAmount,
            body=ReserveBody,
            at_once=True,
            looks_first=True,
        ),
        _post(
            f"{one}/cancel",
            "orders.cancel",
            "Cancel before the escrow is funded",
            handle["cancel"],
            *moved,
            EscrowNotReady,
            body=CancelBody,
        ),
        _post(
            f"{one}/escrow",
            "orders.escrow",
            "Deploy the order's escrow contract",
            handle["escrow"],
            *moved,
            EscrowAlreadyExists,
            WalletNotReady,
            *REFUSALS,
            resume=_resume,
        ),
        _post(
            f"{one}/escrow/fund",
            "orders.fund",
            "Fund the escrow from the buyer's wallet, or from the treasury",
            handle["fund"],
            *moved,
            EscrowNotReady,
            EscrowFundingFailed,
            InsufficientFunds,
            StellarNetworkError,
            *REFUSALS,
            resume=_resume,
        ),
        _get(
            f"{one}/milestones",
            "orders.milestones",
            "The order's milestones, in sequence",
            _milestones_of,
            answer=list[MilestoneAnswer],
            errors=(OrderNotFound,),
        ),
        _post(
            f"{one}/milestones/{{ref}}/complete",
            "orders.complete_milestone",
            "Mark a milestone as completed",
            handle["complete"],
            *moved,
            MilestoneNotFound,
            answer=MilestoneAnswer,
        ),
        _post(
            f"{one}/milestones/{{ref}}/release",
            "orders.release_milestone",
            "Pay the seller one milestone of a multi-release order",
            handle["release_milestone"],
            *moved,
            MilestoneNotFound,
            *REFUSALS,
            body=ReleaseBody,
            resume=_resume,
        ),
        _post(
            f"{one}/milestones/{{ref}}/refund",
            "orders.refund_milestone",
            "Pay the buyer one milestone of a multi-release order back",
            handle["refund_milestone"],
            *moved,
            MilestoneNotFound,
            *REFUSALS,
            body=RefundBody,
            body_optional=False,
            resume=_resume,
        ),
        _post(
            f"{one}/resolution/release",
            "orders.release",
            "Pay the seller, of a multi-release order whatever its milestones have not paid yet",
            handle["release"],
            *moved,
            *REFUSALS,
            body=ReleaseBody,
            resume=_resume,
        ),
        _post(
            f"{one}/resolution/refund",
            "orders.refund",
            "Pay the buyer back, of a multi-release order whatever its milestones have not paid yet",
            handle["refund"],
            *moved,
            *REFUSALS,
            body=RefundBody,
            body_optional=False,
            resume=_resume,
        ),
    )

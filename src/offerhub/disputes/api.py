"""The endpoints of disputes (contract 2.8, 2.9)."""

from typing import Final

from offerhub.disputes import service
from offerhub.disputes.model import AssignDispute, DisputeWithOrderAnswer, ListDisputes, OpenDispute, ResolveDispute
from offerhub.disputes.service import Disputes
from offerhub.errors import (
    DisputeAlreadyOpen,
    DisputeNotFound,
    InvalidSplit,
    InvalidState,
    OrderNotFound,
    invalid_field,
)
from offerhub.escrows.steps import REFUSALS
from offerhub.kernel.money import AmountError, parse_amount
from offerhub.orders.model import DisputeAnswer
from offerhub.runtime.database import Tx
from offerhub.runtime.routes import DAY_SECONDS, Call, Deferred, Envelope, Route, first

DISPUTE_IDEMPOTENCY_SECONDS: Final = 3650 * DAY_SECONDS
"""Answers about disputes are kept for good (contract 1.9)."""


def _part(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_amount(text)
    except AmountError as error:
        raise InvalidSplit(
            'The parts must be strings with two decimals, such as "12.50".', provided=text[:40]
        ) from error


async def _wire(tx: Tx, marketplace_id: str, dispute_id: str) -> DisputeWithOrderAnswer:
    return await service.wire(tx, await service.require(tx, marketplace_id, dispute_id))


async def _open(call: Call) -> DisputeWithOrderAnswer:
    body: OpenDispute = call.body
    order_id = call.path["order_id"]
    if body.orderId is not None and body.orderId != order_id:
        raise invalid_field("orderId", "orderId must be the order of the path")
    return await service.open_dispute(call.tx, call.actor, order_id, body)


async def _list(call: Call) -> list[DisputeAnswer]:
    return await service.find(call.tx, call.actor.marketplace_id, call.query)


async def _read(call: Call) -> DisputeWithOrderAnswer:
    return await _wire(call.tx, call.actor.marketplace_id, call.path["dispute_id"])


async def _assign(call: Call) -> DisputeWithOrderAnswer:
    body: AssignDispute = call.body
    assigned_to = first(body.assignedTo, body.agentId)
    assert assigned_to is not None
    return await service.assign(call.tx, call.actor, call.path["dispute_id"], assigned_to, body.notes)


async def _resume(call: Call, saga_id: str) -> DisputeWithOrderAnswer:
    return await _read(call)


def routes(disputes: Disputes) -> tuple[Route, ...]:
    """Declare the endpoints."""

    async def resolve(call: Call) -> Deferred:
        body: ResolveDispute = call.body
        marketplace_id, dispute_id = call.actor.marketplace_id, call.path["dispute_id"]
        parts = (
            _part(first(body.releaseAmount, body.release_amount)),
            _part(first(body.refundAmount, body.refund_amount)),
        )
        saga_id = await disputes.begin_resolve(call.tx, call.actor, dispute_id, body.decision, parts, body.note)
        return Deferred(saga_id, lambda tx: _wire(tx, marketplace_id, dispute_id))

    one = "/disputes/{dispute_id}"
    return (
        Route(
            "POST",
            "/orders/{order_id}/resolution/dispute",
            "disputes.open",
            "Open a dispute on an order in progress",
            _open,
            "write",
            "disputes",
            Envelope.SUCCESS,
            answer=DisputeWithOrderAnswer,
            status=201,
            body=OpenDispute,
            idempotency_seconds=DISPUTE_IDEMPOTENCY_SECONDS,
            errors=(OrderNotFound, InvalidState, DisputeAlreadyOpen),
        ),
        Route(
            "GET",
            "/disputes",
            "disputes.list",
            "List disputes, newest first",
            _list,
            "read",
            "disputes",
            Envelope.SUCCESS,
            answer=list[DisputeAnswer],
            query=ListDisputes,
            unit="read",
        ),
        Route(
            "GET",
            one,
            "disputes.get",
            "Read a dispute with its order",
            _read,
            "read",
            "disputes",
            Envelope.SUCCESS,
            answer=DisputeWithOrderAnswer,
            unit="read",
            errors=(DisputeNotFound,),
        ),
        Route(
            "POST",
            f"{one}/assign",
            "disputes.assign",
            "Take a dispute under review",
            _assign,
            "support",
            "disputes",
            Envelope.SUCCESS,
            answer=DisputeWithOrderAnswer,
            body=AssignDispute,
            idempotency_seconds=DISPUTE_IDEMPOTENCY_SECONDS,
            errors=(DisputeNotFound, InvalidState),
        ),
        Route(
            "POST",
            f"{one}/resolve",
            "disputes.resolve",
            "Decide a dispute and pay out",
            resolve,
            "support",
            "disputes",
            Envelope.SUCCESS,
            answer=DisputeWithOrderAnswer,
            body=ResolveDispute,
            idempotency_seconds=DISPUTE_IDEMPOTENCY_SECONDS,
            errors=(DisputeNotFound, InvalidState, InvalidSplit, *REFUSALS),
            resume=_resume,
        ),
    )

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
from offerhub.runtime.routes import DAY_SECONDS, Call, Deferred, Envelope, Route

EVIDENCE_MAX: Final = 20
EVIDENCE_CHARACTERS_MAX: Final = 2_000
NOTE_CHARACTERS_MAX: Final = 5_000
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
    evidence = body.evidence or []
    if len(evidence) > EVIDENCE_MAX or any(len(item) > EVIDENCE_CHARACTERS_MAX for item in evidence):
        raise invalid_field(
            "evidence", f"evidence must have at most {EVIDENCE_MAX} items of {EVIDENCE_CHARACTERS_MAX} characters"
        )
    return await service.open_dispute(call.tx, call.actor, order_id, body)


async def _list(call: Call) -> list[DisputeAnswer]:
    return await service.find(call.tx, call.actor.marketplace_id, call.query)


async def _read(call: Call) -> DisputeWithOrderAnswer:
    return await _wire(call.tx, call.actor.marketplace_id, call.path["dispute_id"])


async def _assign(call: Call) -> DisputeWithOrderAnswer:
    body: AssignDispute = call.body
    assigned_to = body.assignedTo or body.agentId
    if not assigned_to or len(assigned_to) > 255:
        raise invalid_field("assignedTo", "assignedTo must be a non-empty string of at most 255 characters")
    return await service.assign(call.tx, call.actor, call.path["dispute_id"], assigned_to, body.notes)


async def _resume(call: Call, saga_id: str) -> DisputeWithOrderAnswer:
    return await _read(call)


def routes(disputes: Disputes) -> tuple[Route, ...]:
    """Declare the endpoints."""

    async def resolve(call: Call) -> Deferred:
        body: ResolveDispute = call.body
        if body.note is not None and len(body.note) > NOTE_CHARACTERS_MAX:
            raise invalid_field("note", f"note must have at most {NOTE_CHARACTERS_MAX} characters")
        marketplace_id, dispute_id = call.actor.marketplace_id, call.path["dispute_id"]
        parts = (
            _part(body.releaseAmount or body.release_amount),
            _part(body.refundAmount or body.refund_amount),
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

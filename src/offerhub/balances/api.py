"""The endpoints of balances (contract 2.4), all flat."""

from collections.abc import Callable

from offerhub.balances import service
from offerhub.balances.model import (
    BalanceAnswer,
    BalanceOperation,
    BalanceOperationAnswer,
    BalanceSyncAnswer,
    BalanceVerificationAnswer,
    HoldBody,
    MoveBody,
    ReleaseBody,
)
from offerhub.balances.service import Manual
from offerhub.balances.store import OF_USERS
from offerhub.errors import (
    BalanceConcurrencyConflict,
    BalanceDiscrepancy,
    InsufficientFunds,
    InvalidAmount,
    InvalidAmountFormat,
    InvalidCurrency,
    InvalidRequest,
    Refusal,
    ReserveNotFound,
    UserNotActive,
    UserNotFound,
)
from offerhub.ledger.amounts import known_currency, positive_amount
from offerhub.providers.stellar.horizon import Horizon
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database
from offerhub.runtime.lookups import Lookups
from offerhub.runtime.routes import Body, Call, Conflict, Envelope, Handler, Refused, Route, first
from offerhub.runtime.statements import Statement

Operation = Callable[[Actor, str, Manual], Statement]


def _manual(body: MoveBody | HoldBody, reference: str | None) -> Manual:
    known_currency(body.currency)
    return Manual(positive_amount(body.amount), reference, body.description)


def _held(body: HoldBody) -> Manual:
    return _manual(body, first(body.orderId, body.reference))


def _moving(operation: Operation) -> Handler:
    async def handle(call: Call) -> Statement:
        body: MoveBody = call.body
        return operation(call.actor, call.path["user_id"], _manual(body, body.reference))

    return handle


def _holding(operation: Operation) -> Handler:
    async def handle(call: Call) -> Statement:
        return operation(call.actor, call.path["user_id"], _held(call.body))

    return handle


async def _release(call: Call) -> Statement:
    body: ReleaseBody = call.body
    recipient_id = first(body.sellerId, body.recipientId)
    assert recipient_id is not None
    return service.release(call.actor, call.path["user_id"], recipient_id, _held(body))


_RECORDED = (InsufficientFunds, ReserveNotFound, UserNotActive)
"""Refusals that leave an audit entry: what was asked for is well-formed and concerns a user of the marketplace."""


def _refused(operation: BalanceOperation) -> Refused:
    async def write(call: Call, refusal: Refusal) -> None:
        if isinstance(refusal, _RECORDED):
            body: MoveBody | HoldBody = call.body
            asked = _held(body) if isinstance(body, HoldBody) else _manual(body, body.reference)
            await service.record_refusal(call.tx, call.actor, call.path["user_id"], operation, asked, refusal)

    return write


def _conflict(operation: str) -> Conflict:
    def refusal(call: Call) -> Refusal:
        return BalanceConcurrencyConflict(
            userId=call.path["user_id"][:64], operation=operation, suggestion=BalanceConcurrencyConflict.remedy
        )

    return refusal


def _post(
    path: str,
    operation: BalanceOperation,
    summary: str,
    handler: Handler,
    body: type[Body],
    *errors: type[Refusal],
) -> Route:
    return Route(
        "POST",
        f"/users/{{user_id}}/balance/{path}",
        f"balances.{path.replace('-', '_')}",
        summary,
        handler,
        "write",
        "balance",
        Envelope.FLAT,
        answer=BalanceOperationAnswer,
        body=body,
        errors=(UserNotFound, InvalidAmountFormat, InvalidCurrency, BalanceConcurrencyConflict, *errors),
        conflict=_conflict(path),
        refused=_refused(operation),
        at_once=True,
    )


def routes(database: Database, horizon: Horizon | None) -> tuple[Route, ...]:
    """Declare the endpoints."""
    balances = Lookups(database, OF_USERS)

    async def read(call: Call) -> BalanceAnswer:
        return (await service.read(balances, call.actor.marketplace_id, call.path["user_id"])).wire()

    async def compare(call: Call) -> service.Comparison:
        return await service.compare(database, balances, horizon, call.actor.marketplace_id, call.path["user_id"])

    async def sync(call: Call) -> BalanceSyncAnswer:
        return (await compare(call)).sync_wire()

    async def verify(call: Call) -> BalanceVerificationAnswer:
        return (await compare(call)).verify_wire()

    return (
        Route(
            "GET",
            "/users/{user_id}/balance",
            "balances.get",
            "Read a user's balance",
            read,
            "read",
            "balance",
            Envelope.FLAT,
            answer=BalanceAnswer,
            unit="none",
            errors=(UserNotFound,),
        ),
        _post(
            "credit",
            "CREDIT_AVAILABLE",
            "Credit a user by hand",
            _moving(service.credit),
            MoveBody,
            UserNotActive,
            InvalidAmount,
        ),
        _post(
            "debit",
            "DEBIT_AVAILABLE",
            "Debit a user by hand",
            _moving(service.debit),
            MoveBody,
            UserNotActive,
            InsufficientFunds,
        ),
        _post(
            "reserve",
            "RESERVE",
            "Set money aside under a reference",
            _holding(service.reserve),
            HoldBody,
            UserNotActive,
            InsufficientFunds,
        ),
        _post(
            "cancel-reservation",
            "CANCEL_RESERVATION",
            "Give reserved money back",
            _holding(service.cancel_reservation),
            HoldBody,
            ReserveNotFound,
        ),
        _post(
            "deduct-reserved",
            "DEDUCT_RESERVED",
            "Take reserved money out of the books",
            _holding(service.deduct_reserved),
            HoldBody,
            ReserveNotFound,
        ),
        _post(
            "release",
            "RELEASE",
            "Pay reserved money to another user",
            _release,
            ReleaseBody,
            UserNotActive,
            ReserveNotFound,
            InvalidRequest,
            InvalidAmount,
        ),
        Route(
            "POST",
            "/users/{user_id}/balance/sync",
            "balances.sync",
            "Compare the books with the chain; changes nothing",
            sync,
            "write",
            "balance",
            Envelope.FLAT,
            answer=BalanceSyncAnswer,
            unit="none",
            idempotency_seconds=0,
            errors=(UserNotFound,),
        ),
        Route(
            "GET",
            "/users/{user_id}/balance/verify",
            "balances.verify",
            "Check that the books and the chain agree",
            verify,
            "read",
            "balance",
            Envelope.FLAT,
            answer=BalanceVerificationAnswer,
            unit="none",
            errors=(UserNotFound, BalanceDiscrepancy),
        ),
    )

"""The endpoints of withdrawals (contract 2.10)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

from offerhub.errors import (
    AirtmUserInvalid,
    AirtmUserNotLinked,
    InsufficientFunds,
    InvalidAmountFormat,
    InvalidCurrency,
    InvalidState,
    PayoutNotReady,
    ProviderError,
    ProviderNotEnabled,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    Refusal,
    StellarNetworkError,
    UserNotActive,
    UserNotFound,
    WalletNotReady,
    WithdrawalDestinationInvalid,
    WithdrawalNotCommittable,
    WithdrawalNotFound,
    invalid_field,
)
from offerhub.kernel.pages import Page
from offerhub.ledger.amounts import known_currency, positive_amount
from offerhub.providers.airtm.client import Airtm
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.routes import Call, Deferred, Envelope, Handler, Route, UserLimit, first
from offerhub.users.service import acting_user
from offerhub.withdrawals import jobs, service, store
from offerhub.withdrawals.model import (
    CreateWithdrawal,
    DestinationType,
    ListWithdrawals,
    UserQuery,
    WithdrawalAnswer,
)
from offerhub.withdrawals.service import Asked, Withdrawals
from offerhub.withdrawals.states import WITHDRAWAL

DESTINATIONS: Final[Mapping[str, DestinationType]] = {
    "crypto": "crypto",
    "stellar": "crypto",
    "bank": "bank",
    "airtm_balance": "airtm_balance",
    "airtm": "airtm_balance",
}
"""What may be sent, and what it means."""


async def _wire(tx: Tx, marketplace_id: str, withdrawal_id: str, user_id: str | None = None) -> WithdrawalAnswer:
    return (await service.require(tx, marketplace_id, withdrawal_id, user_id)).wire()


async def _list(call: Call) -> Page:
    query: ListWithdrawals = call.query
    if query.status is not None and query.status not in WITHDRAWAL.states:
        raise invalid_field("status", f"status must be one of {', '.join(sorted(WITHDRAWAL.states))}")
    user_id = acting_user(call.actor, query.userId)
    return await store.page(call.tx, call.actor.marketplace_id, user_id, query.status, query)


async def _read(call: Call) -> WithdrawalAnswer:
    user_id = acting_user(call.actor, call.query.userId)
    return await _wire(call.tx, call.actor.marketplace_id, call.path["withdrawal_id"], user_id)


async def _resume(call: Call, saga_id: str) -> WithdrawalAnswer:
    found = await call.tx.one("SELECT subject_id FROM sagas WHERE id = $1", saga_id)
    return await _wire(call.tx, call.actor.marketplace_id, found["subject_id"])


def _payee(call: Call) -> str | None:
    """Who a new withdrawal is for. Raises InsufficientScope."""
    body: CreateWithdrawal = call.body
    return acting_user(call.actor, first(body.userId, body.user_id))


LIMIT: Final = UserLimit("WITHDRAWAL_LIMIT_PER_MINUTE", 5, _payee)


def _asked(call: Call) -> Asked:
    body: CreateWithdrawal = call.body
    user_id = _payee(call)
    destination = first(body.destinationRef, body.destination)
    assert destination is not None
    if not user_id:
        raise invalid_field("userId", "userId must name the user who withdraws")
    return Asked(
        user_id,
        positive_amount(body.amount),
        known_currency(body.currency),
        DESTINATIONS[body.destinationType],
        destination,
        body.memo,
        body.description,
        body.commit,
    )


def _changing(start: Callable[[Tx, Actor, str, str | None], Awaitable[str]]) -> Handler:
    """A handler that starts a saga about the withdrawal of the path and answers how far it got."""

    async def handle(call: Call) -> Deferred:
        user_id = acting_user(call.actor, call.query.userId)
        marketplace_id, withdrawal_id = call.actor.marketplace_id, call.path["withdrawal_id"]
        saga_id = await start(call.tx, call.actor, withdrawal_id, user_id)
        return Deferred(saga_id, lambda tx: _wire(tx, marketplace_id, withdrawal_id))

    return handle


def routes(withdrawals: Withdrawals, database: Database, airtm: Airtm | None) -> tuple[Route, ...]:
    """Declare the endpoints."""

    async def create(call: Call) -> Deferred:
        created, saga_id = await withdrawals.begin(call.tx, call.actor, _asked(call))
        return Deferred(saga_id, lambda tx: _wire(tx, created.marketplace_id, created.id))

    async def refresh(call: Call) -> WithdrawalAnswer:
        user_id = acting_user(call.actor, call.query.userId)
        marketplace_id, withdrawal_id = call.actor.marketplace_id, call.path["withdrawal_id"]
        found = await database.run(
            lambda tx: service.require(tx, marketplace_id, withdrawal_id, user_id), read_only=True
        )
        asks = airtm is not None and found.airtm_payout_id is not None and found.status not in WITHDRAWAL.terminal
        if airtm is not None and asks:
            found = await jobs.refresh(database, airtm, found)
        return found.wire()

    commit, cancel = _changing(withdrawals.begin_commit), _changing(withdrawals.begin_cancel)
    return (
        _create_route(create),
        *_read_routes(),
        _one("POST", "/commit", "withdrawals.commit", "Let a prepared withdrawal go", commit, _COMMIT),
        _refresh_route(refresh),
        _one("POST", "/cancel", "withdrawals.cancel", "Cancel a withdrawal that was not committed", cancel, _CANCEL),
        _one("DELETE", "", "withdrawals.delete", "The same as cancelling it", cancel, _CANCEL),
    )


_ONE: Final = "/withdrawals/{withdrawal_id}"
_PROVIDER: Final = (ProviderError, ProviderRateLimited, ProviderTimeout, ProviderUnavailable)
_COMMIT: Final = (WithdrawalNotFound, WithdrawalNotCommittable, PayoutNotReady, AirtmUserInvalid, *_PROVIDER)
_CANCEL: Final = (WithdrawalNotFound, InvalidState, PayoutNotReady, *_PROVIDER)


def _create_route(create: Handler) -> Route:
    return Route(
        "POST",
        "/withdrawals",
        "withdrawals.create",
        "Withdraw to a Stellar address, or through Airtm",
        create,
        "write",
        "withdrawals",
        Envelope.FLAT,
        answer=WithdrawalAnswer,
        description="A withdrawal to a Stellar address (`crypto`) is paid before it is answered. Through Airtm "
        "(`bank`, `airtm_balance`) it is prepared, and paid once it is committed: at once with `commit: true`, or by "
        "`POST /withdrawals/{id}/commit`. The money is set aside from the start and comes back if it cannot be paid.",
        status=201,
        body=CreateWithdrawal,
        errors=(
            UserNotFound,
            UserNotActive,
            InvalidAmountFormat,
            InvalidCurrency,
            InsufficientFunds,
            WalletNotReady,
            WithdrawalDestinationInvalid,
            ProviderNotEnabled,
            AirtmUserNotLinked,
            AirtmUserInvalid,
            StellarNetworkError,
            *_PROVIDER,
        ),
        resume=_resume,
        limit=LIMIT,
    )


def _read_routes() -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            "/withdrawals",
            "withdrawals.list",
            "List withdrawals, newest first",
            _list,
            "read",
            "withdrawals",
            Envelope.LIST,
            answer=WithdrawalAnswer,
            query=ListWithdrawals,
            unit="read",
        ),
        Route(
            "GET",
            _ONE,
            "withdrawals.get",
            "Read a withdrawal",
            _read,
            "read",
            "withdrawals",
            Envelope.FLAT,
            answer=WithdrawalAnswer,
            query=UserQuery,
            unit="read",
            errors=(WithdrawalNotFound,),
        ),
    )


def _refresh_route(refresh: Handler) -> Route:
    return Route(
        "POST",
        f"{_ONE}/refresh",
        "withdrawals.refresh",
        "Ask Airtm how far a withdrawal has got; the chain's verdict is applied by itself",
        refresh,
        "read",
        "withdrawals",
        Envelope.FLAT,
        answer=WithdrawalAnswer,
        query=UserQuery,
        unit="none",
        errors=(WithdrawalNotFound, AirtmUserInvalid, *_PROVIDER),
    )


def _one(
    method: Literal["POST", "DELETE"],
    path: str,
    name: str,
    summary: str,
    handler: Handler,
    errors: tuple[type[Refusal], ...],
) -> Route:
    return Route(
        method,
        f"{_ONE}{path}",
        name,
        summary,
        handler,
        "write",
        "withdrawals",
        Envelope.FLAT,
        answer=WithdrawalAnswer,
        query=UserQuery,
        errors=errors,
        resume=_resume,
    )

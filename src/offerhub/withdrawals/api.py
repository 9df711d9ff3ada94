"""The endpoints of withdrawals (contract 2.10)."""

from offerhub.errors import (
    InsufficientFunds,
    InsufficientScope,
    InvalidAmountFormat,
    InvalidCurrency,
    ProviderNotEnabled,
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
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.runtime.routes import Call, Deferred, Envelope, Route
from offerhub.withdrawals import service, store
from offerhub.withdrawals.model import CreateWithdrawal, ListWithdrawals, UserQuery, WithdrawalAnswer
from offerhub.withdrawals.service import Payout, Withdrawals
from offerhub.withdrawals.states import WITHDRAWAL

CRYPTO = frozenset({"crypto", "stellar"})


def _acting_user(actor: Actor, named: str | None) -> str | None:
    """The user a request acts for: the one it names, or the key's own. Raises InsufficientScope for another's."""
    if actor.bound_user_id is not None and named not in (None, actor.bound_user_id):
        raise InsufficientScope("This key acts for another user.", userId=named)
    return actor.bound_user_id or named


async def _wire(tx: Tx, marketplace_id: str, withdrawal_id: str, user_id: str | None = None) -> WithdrawalAnswer:
    return (await service.require(tx, marketplace_id, withdrawal_id, user_id)).wire()


async def _list(call: Call) -> Page:
    query: ListWithdrawals = call.query
    if query.status is not None and query.status not in WITHDRAWAL.states:
        raise invalid_field("status", f"status must be one of {', '.join(sorted(WITHDRAWAL.states))}")
    user_id = _acting_user(call.actor, query.userId)
    return await store.page(call.tx, call.actor.marketplace_id, user_id, query.status, query)


async def _read(call: Call) -> WithdrawalAnswer:
    user_id = _acting_user(call.actor, call.query.userId)
    return await _wire(call.tx, call.actor.marketplace_id, call.path["withdrawal_id"], user_id)


async def _commit(call: Call) -> WithdrawalAnswer:
    user_id = _acting_user(call.actor, call.query.userId)
    found = await service.require(call.tx, call.actor.marketplace_id, call.path["withdrawal_id"], user_id)
    raise service.refuse_commit(found)


async def _resume(call: Call, saga_id: str) -> WithdrawalAnswer:
    found = await call.tx.one("SELECT subject_id FROM sagas WHERE id = $1", saga_id)
    return await _wire(call.tx, call.actor.marketplace_id, found["subject_id"])


def routes(withdrawals: Withdrawals) -> tuple[Route, ...]:
    """Declare the endpoints."""

    async def create(call: Call) -> Deferred:
        body: CreateWithdrawal = call.body
        user_id = _acting_user(call.actor, body.userId or body.user_id)
        destination = body.destinationRef or body.destination
        if not user_id:
            raise invalid_field("userId", "userId must name the user who withdraws")
        if not destination:
            raise invalid_field("destinationRef", "destinationRef must be a non-empty string")
        if body.destinationType not in CRYPTO:
            raise ProviderNotEnabled(destinationType=body.destinationType)
        asked = Payout(
            user_id,
            positive_amount(body.amount),
            known_currency(body.currency),
            destination,
            body.memo,
            body.description,
        )
        created, saga_id = await withdrawals.begin(call.tx, call.actor, asked)
        return Deferred(saga_id, lambda tx: _wire(tx, created.marketplace_id, created.id))

    one = "/withdrawals/{withdrawal_id}"
    return (
        Route(
            "POST",
            "/withdrawals",
            "withdrawals.create",
            "Withdraw to a Stellar address",
            create,
            "write",
            "withdrawals",
            Envelope.FLAT,
            answer=WithdrawalAnswer,
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
                StellarNetworkError,
            ),
            resume=_resume,
        ),
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
            one,
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
        Route(
            "POST",
            f"{one}/commit",
            "withdrawals.commit",
            "Commit a withdrawal that waits for it; a crypto withdrawal never does",
            _commit,
            "write",
            "withdrawals",
            Envelope.FLAT,
            answer=WithdrawalAnswer,
            query=UserQuery,
            errors=(WithdrawalNotFound, WithdrawalNotCommittable),
        ),
        Route(
            "POST",
            f"{one}/refresh",
            "withdrawals.refresh",
            "Read a withdrawal again; the chain's verdict is applied by itself",
            _read,
            "read",
            "withdrawals",
            Envelope.FLAT,
            answer=WithdrawalAnswer,
            query=UserQuery,
            unit="read",
            idempotency_seconds=0,
            errors=(WithdrawalNotFound,),
        ),
    )

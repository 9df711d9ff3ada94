"""The endpoints of top-ups (contract 2.6)."""

from typing import Final

from offerhub.errors import (
    AirtmUserInvalid,
    AirtmUserNotLinked,
    InvalidAmountFormat,
    InvalidCurrency,
    InvalidState,
    ProviderError,
    ProviderNotEnabled,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    TopUpNotFound,
    UserNotActive,
    UserNotFound,
    invalid_field,
)
from offerhub.kernel.pages import Page
from offerhub.ledger.amounts import known_currency, positive_amount
from offerhub.runtime.database import Tx
from offerhub.runtime.routes import Call, Deferred, Envelope, Redirect, Route, UserLimit, first
from offerhub.topups import service, store
from offerhub.topups.model import SDK_ONLY_STATUSES, CreateTopUp, ListTopUps, TopUpAnswer
from offerhub.topups.service import Request, TopUps
from offerhub.topups.states import TOPUP
from offerhub.users.service import acting_user

PROVIDER_REFUSALS: Final = (ProviderError, ProviderRateLimited, ProviderTimeout, ProviderUnavailable)

_CREATE: Final = """
A payment that the user confirms in a browser, at the answer's `confirmationUri`. Send the browser there; afterwards
Airtm sends it back here, and on to the address that you have configured. That it comes back proves nothing: the money
is there when the status is `TOPUP_SUCCEEDED`, and `netAmount` is what was credited.

The user is the key's own if it is bound to one, else `userId`.

While Airtm gives no clear answer the status is `TOPUP_CREATED`, without a `confirmationUri`; the work goes on by
itself. A refusal ends the top-up as `TOPUP_FAILED`.
"""
_CALLBACK: Final = """
For browsers that Airtm sends back. Whatever the address says besides the id (`code`, `status`) is ignored: Airtm is
asked what became of the payment. Goes on to `TOPUP_SUCCESS_REDIRECT_URL` if it is paid or being paid, else to
`TOPUP_CANCEL_REDIRECT_URL`.
"""
_LIST: Final = "A key that is bound to a user sees that user's; any other key sees all of the marketplace."


def _payer(call: Call) -> str | None:
    """Whom a new top-up is for. Raises InsufficientScope."""
    body: CreateTopUp = call.body
    return acting_user(call.actor, first(body.userId, body.user_id))


LIMIT: Final = UserLimit("TOPUP_LIMIT_PER_MINUTE", 10, _payer)


async def _list(call: Call) -> Page:
    query: ListTopUps = call.query
    user_id = acting_user(call.actor, query.userId)
    if query.status in SDK_ONLY_STATUSES:
        return Page([], None)
    if query.status is not None and query.status not in TOPUP.states:
        raise invalid_field("status", f"status must be one of {', '.join(sorted(TOPUP.states))}")
    return await store.page(call.tx, call.actor.marketplace_id, user_id, query.status, query)


async def _read(call: Call) -> TopUpAnswer:
    return (await service.require(call.tx, call.actor, call.path["topup_id"])).wire()


async def _resume(call: Call, saga_id: str) -> TopUpAnswer:
    found = await call.tx.one("SELECT subject_id FROM sagas WHERE id = $1", saga_id)
    return (await service.require(call.tx, call.actor, found["subject_id"])).wire()


def routes(topups: TopUps) -> tuple[Route, ...]:
    """Declare the endpoints."""

    async def create(call: Call) -> Deferred:
        body: CreateTopUp = call.body
        user_id = _payer(call)
        if not user_id:
            raise invalid_field("userId", "userId must name the user who pays")
        asked = Request(user_id, positive_amount(body.amount), known_currency(body.currency), body.description)
        created, saga_id = await topups.begin(call.tx, call.actor, asked)

        async def view(tx: Tx) -> TopUpAnswer:
            return (await service.require(tx, call.actor, created.id)).wire()

        return Deferred(saga_id, view)

    async def refresh(call: Call) -> TopUpAnswer:
        return (await topups.refresh(call.actor, call.path["topup_id"])).wire()

    async def cancel(call: Call) -> TopUpAnswer:
        return (await topups.cancel(call.actor, call.path["topup_id"])).wire()

    async def callback(call: Call) -> Redirect:
        return Redirect(await topups.came_back(call.path["topup_id"], call.actor.correlation_id))

    one = "/topups/{topup_id}"
    return (
        Route(
            "POST",
            "/topups",
            "topups.create",
            "Let a user pay in through Airtm",
            create,
            "write",
            "topups",
            Envelope.FLAT,
            answer=TopUpAnswer,
            status=201,
            description=_CREATE,
            body=CreateTopUp,
            errors=(
                UserNotFound,
                UserNotActive,
                InvalidAmountFormat,
                InvalidCurrency,
                AirtmUserNotLinked,
                AirtmUserInvalid,
                ProviderNotEnabled,
                *PROVIDER_REFUSALS,
            ),
            resume=_resume,
            limit=LIMIT,
        ),
        Route(
            "GET",
            "/topups",
            "topups.list",
            "List top-ups, newest first",
            _list,
            "read",
            "topups",
            Envelope.LIST,
            answer=TopUpAnswer,
            description=_LIST,
            query=ListTopUps,
            unit="read",
        ),
        Route(
            "GET",
            one,
            "topups.get",
            "Read a top-up",
            _read,
            "read",
            "topups",
            Envelope.FLAT,
            answer=TopUpAnswer,
            unit="read",
            errors=(TopUpNotFound,),
        ),
        Route(
            "POST",
            f"{one}/refresh",
            "topups.refresh",
            "Ask Airtm what became of a top-up",
            refresh,
            "read",
            "topups",
            Envelope.FLAT,
            answer=TopUpAnswer,
            description="Unchanged when it has ended, or while Airtm has no payment of it yet.",
            unit="none",
            errors=(TopUpNotFound, ProviderNotEnabled, *PROVIDER_REFUSALS),
        ),
        Route(
            "POST",
            f"{one}/cancel",
            "topups.cancel",
            "Cancel a top-up that the user has not confirmed",
            cancel,
            "write",
            "topups",
            Envelope.FLAT,
            answer=TopUpAnswer,
            description="It is canceled at Airtm first. Where Airtm gives no clear answer (`PROVIDER_TIMEOUT`) it "
            "stays as it is; repeat the request.",
            unit="none",
            errors=(TopUpNotFound, InvalidState, ProviderNotEnabled, *PROVIDER_REFUSALS),
        ),
        Route(
            "GET",
            f"{one}/callback",
            "topups.callback",
            "Where Airtm sends the user's browser back to",
            callback,
            "public",
            "topups",
            Envelope.DATA,
            answer=Redirect,
            status=302,
            description=_CALLBACK,
            unit="none",
            errors=(TopUpNotFound,),
        ),
    )

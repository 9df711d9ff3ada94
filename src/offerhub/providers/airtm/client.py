"""The client of Airtm's Enterprise API V2: payins, payouts, users, our balance (providers.md 2).

Reads raise the errors of the catalogue, and return None for what Airtm does not know. Calls with effect never raise
for what Airtm says: what became of one is a value, because an answer that got lost is not a failure. No call with
effect is repeated here. Airtm has no idempotency keys on payins and payouts; the unique `code` that we give each is
the only guard against a second one, and the way to find out what became of the first.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final, TypeVar

import structlog

from offerhub.errors import ProviderError, ProviderTimeout, ProviderUnavailable
from offerhub.kernel.money import Units
from offerhub.providers.airtm.model import (
    AirtmBalance,
    AirtmUser,
    Deposits,
    Done,
    Exists,
    Outcome,
    Payin,
    Payout,
    Rejected,
    Unavailable,
    Unknown,
)
from offerhub.providers.airtm.refusals import (
    NO_SUCH_PAYIN,
    NO_SUCH_PAYOUT,
    NO_SUCH_USER,
    OUR_BALANCE_TOO_LOW,
    body_of,
    code_of,
    details_of,
    is_absence,
    is_success,
    judge,
    refusal_of,
    refuses_us,
)
from offerhub.providers.airtm.wire import (
    DEPOSIT_TYPES,
    USER_STATUSES,
    Request,
    payin_body,
    payout_body,
    read_balance,
    read_deposits,
    read_payin,
    read_payout,
    read_user,
)
from offerhub.runtime.http import Caller, NoAnswer, NotSent, Response
from offerhub.runtime.line import HeldBack

TIMEOUT_SECONDS: Final = 30.0
DEPOSITS_PER_PAGE: Final = 100
"""Airtm allows 10 to 1000."""

T = TypeVar("T")
log = structlog.stdlib.get_logger(__name__)


class Airtm:
    """One API key on one host, reached through a line.

    `require_id_verified` has Airtm itself refuse payouts to whoever is not identified at that moment.
    Every error carries `details` with `provider`, `method`, `path` (a template), `originalStatus` and `reasonCode`.
    """

    def __init__(
        self,
        http: Caller,
        base_url: str,
        checkout_url: str,
        api_key: str,
        api_secret: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        require_id_verified: bool = False,
    ) -> None:
        self._http = http
        self._base = base_url.rstrip("/")
        self._checkout = checkout_url.rstrip("/")
        self._headers = {
            "authorization": "Basic " + b64encode(f"{api_key}:{api_secret}".encode()).decode(),
            "accept": "application/json",
        }
        self._timeout_seconds = timeout_seconds
        self._require_id_verified = require_id_verified

    # -- users and our own account -------------------------------------------------------------------------------

    async def find_user(self, email: str) -> AirtmUser | None:
        """The user with this e-mail address, or None. Raises like every read here.

        ProviderRateLimited, ProviderUnavailable and ProviderTimeout may simply be asked again; AirtmUserInvalid and
        ProviderError may not.
        """
        request = Request("find_user", "GET", "/users/{email}", {"email": email})
        return await self._find(request, NO_SUCH_USER, _user)

    async def balance(self) -> AirtmBalance:
        """What our own account holds."""
        request = Request("balance", "GET", "/me/balance")
        return self._read(request, await self._ask(request), read_balance)

    async def deposits(
        self, *, after: str | None = None, before: str | None = None, per_page: int = DEPOSITS_PER_PAGE
    ) -> Deposits:
        """One page of what came to our account by another way than a payin, behind or before a cursor."""
        query = {"perPage": str(per_page)}
        query |= {name: cursor for name, cursor in (("after", after), ("before", before)) if cursor is not None}
        request = Request("deposits", "GET", "/deposits", query=query)
        return self._read(request, await self._ask(request), _deposits)

    async def reach(self) -> None:
        """See whether Airtm answers us, whatever it says.

        Raises ProviderUnavailable, ProviderTimeout, or ProviderError when it refuses our credentials.
        """
        request = Request("reach", "GET", "/me")
        response = await self._ask(request)
        if response.status >= 500:
            raise ProviderUnavailable("Airtm is unavailable.", **details_of(request, response.status))
        if refuses_us(response.status, code_of(response)):
            raise ProviderError("Airtm refused our credentials.", **details_of(request, response.status))

    # -- payins: from a user to us -------------------------------------------------------------------------------

    async def create_payin(
        self, *, code: str, amount: Units, description: str, confirmation_uri: str, cancel_uri: str
    ) -> Outcome[Payin]:
        """Ask for a payment. `amount` is whole cents; the user confirms at the payin's `checkout_url`.

        Airtm sends the user on to one of the two addresses afterwards; arriving there proves nothing.
        """
        body = payin_body(
            code=code,
            amount=amount,
            description=description,
            confirmation_uri=confirmation_uri,
            cancel_uri=cancel_uri,
        )
        request = Request("create_payin", "POST", "/payins", body=body)
        return await self._create(request, lambda row: _matching(self._payin(row), code=code))

    async def payin(self, payin_id: str) -> Payin | None:
        """The payin with Airtm's id, or None."""
        request = Request("payin", "GET", "/payins/{id}", {"id": payin_id})
        return await self._find(request, NO_SUCH_PAYIN, lambda row: _matching(self._payin(row), id=payin_id))

    async def payin_by_code(self, code: str) -> Payin | None:
        """The payin with our code, or None."""
        request = Request("payin_by_code", "GET", "/payins/by-code/{code}", {"code": code})
        return await self._find(request, NO_SUCH_PAYIN, lambda row: _matching(self._payin(row), code=code))

    async def cancel_payin(self, payin_id: str) -> Outcome[None]:
        """Cancel a payin that is not confirmed; reason code 415030 when it is too late."""
        return await self._act(Request("cancel_payin", "DELETE", "/payins/{id}", {"id": payin_id}))

    # -- payouts: from us to a user ------------------------------------------------------------------------------

    async def create_payout(self, *, code: str, email: str, amount: Units, notes: str) -> Outcome[Payout]:
        """Prepare a payment of whole cents; no money moves until it is committed."""
        body = payout_body(
            code=code, email=email, amount=amount, notes=notes, require_id_verified=self._require_id_verified
        )
        request = Request("create_payout", "POST", "/payouts", body=body)
        return await self._create(request, lambda row: _matching(_payout(row), code=code))

    async def commit_payout(self, payout_id: str) -> Outcome[None]:
        """Let the money go. Nothing but a code that Airtm documents is believed to mean that it did not."""
        request = Request("commit_payout", "POST", "/payouts/{id}/commit", {"id": payout_id}, moves_money=True)
        return await self._act(request)

    async def payout(self, payout_id: str) -> Payout | None:
        """The payout with Airtm's id, or None."""
        request = Request("payout", "GET", "/payouts/{id}", {"id": payout_id})
        return await self._find(request, NO_SUCH_PAYOUT, lambda row: _matching(_payout(row), id=payout_id))

    async def payout_by_code(self, code: str) -> Payout | None:
        """The payout with our code, or None."""
        request = Request("payout_by_code", "GET", "/payouts/by-code/{code}", {"code": code})
        return await self._find(request, NO_SUCH_PAYOUT, lambda row: _matching(_payout(row), code=code))

    async def cancel_payout(self, payout_id: str) -> Outcome[None]:
        """Cancel a payout that waits; reason code 415055 when it is too late."""
        return await self._act(Request("cancel_payout", "DELETE", "/payouts/{id}", {"id": payout_id}))

    # -- how calls are made --------------------------------------------------------------------------------------

    def _payin(self, row: dict[str, Any]) -> Payin:
        payin = read_payin(row, self._checkout)
        if payin.status == "UNRECOGNISED":
            log.error("airtm.status_unrecognised", payin=payin.id, status=payin.raw_status)
        return payin

    async def _call(self, request: Request) -> Response:
        headers = self._headers if request.body is None else self._headers | {"content-type": "application/json"}
        response = await self._http.call(
            request.method,
            self._base + request.target,
            name=f"airtm.{request.name}",
            timeout_seconds=self._timeout_seconds,
            headers=headers,
            body=request.body,
        )
        _alert(request, response)
        return response

    async def _ask(self, request: Request) -> Response:
        """A call without effect: its answer, whatever the status, or an error of the catalogue."""
        try:
            return await self._call(request)
        except NotSent as error:
            raise _not_sent(request, error) from error
        except NoAnswer as error:
            raise ProviderTimeout("Airtm did not answer.", **details_of(request, None)) from error

    async def _find(self, request: Request, absent: frozenset[str], read: Callable[[dict[str, Any]], T]) -> T | None:
        if not request.is_addressable:
            return None
        response = await self._ask(request)
        return None if is_absence(response, absent) else self._read(request, response, read)

    def _read(self, request: Request, response: Response, read: Callable[[dict[str, Any]], T]) -> T:
        if not is_success(response):
            raise refusal_of(request, response)
        try:
            return _decode(response, read)
        except ValueError as error:
            details = details_of(request, response.status)
            raise ProviderError("Airtm answered in an unknown form.", reason=str(error)[:200], **details) from error

    async def _send(self, request: Request) -> Response | Exists | Rejected | Unavailable | Unknown:
        """A call with effect: its answer when it is a success, else what became of the call."""
        try:
            response = await self._call(request)
        except NotSent as error:
            return Unavailable(_not_sent(request, error))
        except NoAnswer as error:
            # Only the kind of failure: aiohttp's own words may quote the address.
            return Unknown(f"{request.method} {request.path}: no answer ({type(error.__cause__).__name__})")
        return response if is_success(response) else judge(request, response)

    async def _create(self, request: Request, read: Callable[[dict[str, Any]], T]) -> Outcome[T]:
        answer = await self._send(request)
        if not isinstance(answer, Response):
            return answer
        try:
            return Done(_decode(answer, read))
        except ValueError as error:
            return Unknown(f"{request.method} {request.path}: {error}"[:300])

    async def _act(self, request: Request) -> Outcome[None]:
        answer = await self._send(request)
        if not isinstance(answer, Response):
            return answer
        # Nothing, or the thing itself. A page of something in between is neither.
        if not answer.body or "id" in (body_of(answer) or {}):
            return Done(None)
        return Unknown(f"{request.method} {request.path}: HTTP {answer.status} in an unknown form")


def _not_sent(request: Request, error: NotSent) -> ProviderUnavailable:
    # Only a line's own words are told: aiohttp's may quote the address.
    if isinstance(error, HeldBack):
        return ProviderUnavailable(str(error), heldBack=error.reason, **details_of(request, None))
    return ProviderUnavailable("Airtm cannot be reached.", **details_of(request, None))


def _alert(request: Request, response: Response) -> None:
    """Tell the operator what only the operator can mend."""
    code = code_of(response)
    known = {"call": request.name, "status": response.status, "reason_code": code}
    if refuses_us(response.status, code):
        log.error("airtm.credentials_refused", **known)
    elif code == OUR_BALANCE_TOO_LOW:
        log.error("airtm.balance_too_low", **known)


def _decode(response: Response, read: Callable[[dict[str, Any]], T]) -> T:
    """Run a reader of Airtm's answer. Raises ValueError for whatever it stumbles over."""
    body = body_of(response)
    if body is None:
        raise ValueError(f"HTTP {response.status} without a JSON object")
    try:
        return read(body)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _payout(row: dict[str, Any]) -> Payout:
    payout = read_payout(row)
    if payout.status == "UNRECOGNISED":
        log.error("airtm.status_unrecognised", payout=payout.id, status=payout.raw_status)
    return payout


def _user(row: dict[str, Any]) -> AirtmUser:
    user = read_user(row)
    if user.raw_status.upper() not in USER_STATUSES:
        log.error("airtm.status_unrecognised", user=user.id, status=user.raw_status)
    return user


def _deposits(row: dict[str, Any]) -> Deposits:
    found = read_deposits(row)
    for item in row["items"]:
        if item["type"].upper() not in DEPOSIT_TYPES:
            log.error("airtm.deposit_type_unrecognised", deposit=item["id"], type=item["type"])
    return found


Transfer = TypeVar("Transfer", Payin, Payout)


def _matching(found: Transfer, *, id: str | None = None, code: str | None = None) -> Transfer:  # noqa: A002
    """What was found, when it is what was asked for. A payout need not tell its code. Raises ValueError."""
    if id is not None and found.id != id:
        raise ValueError("the answer is about another id")
    if code is not None and found.code is not None and found.code != code:
        raise ValueError("the answer is about another code")
    return found

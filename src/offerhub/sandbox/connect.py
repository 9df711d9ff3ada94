"""The Connect face: the wallets of Airtm's users, with their consent (providers.md 2.4).

Its money is USDC on the sandbox's ledger (connect_custody).
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from offerhub.sandbox.airtm_model import Person
from offerhub.sandbox.connect_bodies import (
    QuoteBody,
    balance_json,
    decoded,
    invalid,
    kyc_json,
    moment_of,
    quote_json,
    read_code,
    read_quote,
    read_transaction,
    transfer_json,
    units_of,
)
from offerhub.sandbox.connect_book import ConnectBook
from offerhub.sandbox.connect_grants import Grants
from offerhub.sandbox.connect_model import Asked, ConnectRefused, Grant, Quote, Transfer
from offerhub.sandbox.connect_store import ConnectStore

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 500
SPAN_SECONDS_MAX: Final = 31 * 86_400
_CENT: Final = 100_000

Endpoint = Callable[[Request], Awaitable[Response]]


class ConnectFace:
    """Answers as Connect does, from one book."""

    def __init__(self, store: ConnectStore, grants: Grants, book: ConnectBook, now: Callable[[], int]) -> None:
        self._store = store
        self._grants = grants
        self._book = book
        self._now = now

    def routes(self) -> list[Route]:
        """Every route of this face, without its prefix."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/balance", self._balance),
            ("GET", "/kyc", self._kyc),
            ("POST", "/quotes", self._quote),
            ("POST", "/transactions", self._create),
            ("GET", "/transactions", self._list),
            ("GET", "/transactions/by-reference/{reference}", self._by_reference),
            ("GET", "/transactions/{id}", self._by_id),
            ("POST", "/transactions/{id}/2fa", self._confirm),
            ("POST", "/transactions/{id}/2fa/resend", self._resend),
        ]
        return [Route(path, answering(endpoint), methods=[method]) for method, path, endpoint in table]

    def _grant(self, request: Request, scope: str | None) -> Grant:
        return self._grants.bearer(request.headers.get("authorization", ""), scope)

    async def _balance(self, request: Request) -> Response:
        grant = self._grant(request, "wallet:read")
        return JSONResponse(balance_json(self._book.balance(grant.email)))

    async def _kyc(self, request: Request) -> Response:
        grant = self._grant(request, "kyc:status")
        return JSONResponse(kyc_json(self._book.wallet(grant.email)))

    # -- quotes --------------------------------------------------------------------------------------------------

    async def _quote(self, request: Request) -> Response:
        self._grant(request, None)
        body = read_quote(await request.body())
        grant = self._grant(request, body.scope)
        priced = self._priced(grant.email, body)
        good = (one for one in self._store.all(Quote) if self._now() < one.expires_at)
        known = next((one for one in good if _equal(one, priced)), None)
        if known is not None:
            return JSONResponse(quote_json(known), 200)
        return JSONResponse(quote_json(self._store.keep(priced)), 201)

    def _priced(self, email: str, body: QuoteBody) -> Quote:
        """What is sent is what is received and both fees; Airtm's own is 1 % for users with the tag `fee`."""
        partner_fee = units_of(body.partnerFee, "partnerFee", least=0) if body.partnerFee is not None else 0
        percent = 1 if "fee" in Person(email).tags else 0
        if body.amountToSend is not None:
            to_send = units_of(body.amountToSend, "amountToSend")
        else:
            to_send = _gross(units_of(body.amountToReceive or "", "amountToReceive") + partner_fee, percent)
        fee = _fee(to_send, percent)
        to_receive = to_send - fee - partner_fee
        if to_receive <= 0:
            raise invalid("partnerFee leaves nothing to receive")
        asked: Asked = "send" if body.amountToSend is not None else "receive"
        quote_id = self._store.new_id(Quote)
        return Quote(quote_id, email, body.scope, asked, to_send, to_receive, fee, partner_fee, self._now())

    # -- transactions --------------------------------------------------------------------------------------------

    async def _create(self, request: Request) -> Response:
        self._grant(request, None)
        raw = await request.body()
        body = read_transaction(raw)
        grant = self._grant(request, body.scope)
        key, digest = request.headers.get("idempotency-key"), _digest(grant.email, raw)
        before = next((one for one in self._store.all(Transfer) if key is not None and one.key == key), None)
        if before is not None and before.digest != digest:
            raise ConnectRefused(409, "The Idempotency-Key was used for something else")
        if before is not None:
            return JSONResponse(transfer_json(self._book.transfer(before.id)), 200)
        quote = self._store.find(Quote, body.quoteId)
        if quote is None or quote.email != grant.email:
            raise ConnectRefused(404, "Quote not found", code="415902")
        if quote.scope != body.scope:
            raise invalid("the quote has another scope")
        if self._now() >= quote.expires_at:
            raise ConnectRefused(400, "The quote has expired", code="415115")
        return JSONResponse(transfer_json(self._book.create(quote, body, key, digest)), 201)

    async def _by_id(self, request: Request) -> Response:
        grant = self._grant(request, "wallet:read")
        return self._shown(self._book.transfer(request.path_params["id"], grant.email))

    async def _by_reference(self, request: Request) -> Response:
        grant = self._grant(request, "wallet:read")
        wanted = request.path_params["reference"]
        for transfer in self._book.transfers(grant.email):
            if transfer.partner_reference == wanted:
                return self._shown(transfer)
        raise ConnectRefused(404, "Transaction not found", code="415902")

    async def _list(self, request: Request) -> Response:
        """`{items, nextCursor}`, newest first; the cursor is the id of the last one shown, null at the end."""
        grant = self._grant(request, "wallet:read")
        given = request.query_params
        limit = given.get("limit", str(PAGE_DEFAULT))
        if not limit.isdecimal() or not 1 <= int(limit) <= PAGE_MAX:
            raise invalid(f"limit must be from 1 to {PAGE_MAX}")
        until = moment_of(given["to"], "to") if "to" in given else self._now()
        since = moment_of(given["from"], "from") if "from" in given else until - SPAN_SECONDS_MAX
        if not 0 <= until - since <= SPAN_SECONDS_MAX:
            raise invalid("from and to must be in order, and at most 31 days apart")
        found = [one for one in reversed(self._book.transfers(grant.email)) if since <= one.created_at <= until]
        ids = [one.id for one in found]
        if "cursor" in given and given["cursor"] not in ids:
            raise invalid("there is no such cursor")
        begin = ids.index(given["cursor"]) + 1 if "cursor" in given else 0
        page = found[begin : begin + int(limit)]
        rows = [row for row in map(self._book.shown, page) if row is not None]
        more = begin + int(limit) < len(found)
        return JSONResponse({"items": rows, "nextCursor": page[-1].id if more else None})

    async def _confirm(self, request: Request) -> Response:
        grant = self._grant(request, "wallet:send")
        transfer = self._book.transfer(request.path_params["id"], grant.email)
        return self._shown(self._book.confirm(transfer, read_code(await request.body())))

    async def _resend(self, request: Request) -> Response:
        grant = self._grant(request, "wallet:send")
        transfer = self._book.transfer(request.path_params["id"], grant.email)
        return self._shown(self._book.resend(transfer))

    def _shown(self, transfer: Transfer) -> Response:
        """As it can be read now. Raises ConnectRefused when it was announced before it can be."""
        body = self._book.shown(transfer)
        if body is None:
            raise ConnectRefused(404, "Transaction not found", code="415902")
        return JSONResponse(body)


def answering(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with refusals in the form of Connect."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ConnectRefused as refused:
            told = {"code": refused.code, "error": refused.error, "message": refused.message}
            body = {name: value for name, value in told.items() if value is not None}
            headers = {"www-authenticate": f'Bearer error="{refused.error}"'} if refused.error else {}
            return JSONResponse(body, refused.status, headers)

    return answer


def _equal(one: Quote, other: Quote) -> bool:
    def parameters(quote: Quote) -> tuple[Any, ...]:
        asked = quote.amount_to_send if quote.asked == "send" else quote.amount_to_receive
        return quote.email, quote.scope, quote.asked, asked, quote.partner_fee

    return parameters(one) == parameters(other)


def _fee(amount: int, percent: int) -> int:
    """Of an amount, in whole cents, rounded down."""
    return amount * percent // 100 // _CENT * _CENT


def _gross(net: int, percent: int) -> int:
    """The least amount of which `net` is left after the fee."""
    gross = net
    while gross - _fee(gross, percent) < net:
        gross += net - (gross - _fee(gross, percent))
    return gross


def _digest(email: str, raw: bytes) -> str:
    """What is asked for, whatever the order and spacing of the JSON."""
    canonical = json.dumps([email, decoded(raw)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()

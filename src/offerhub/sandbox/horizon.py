"""The Horizon face: reads, and submission that waits for the next ledger (providers.md 6.4, 6.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from stellar_sdk import StrKey

from offerhub.sandbox import horizon_json as shapes
from offerhub.sandbox.chain import Chain, Malformed, Rejected, SubmissionTimeout
from offerhub.sandbox.envelope import BASE_FEE
from offerhub.sandbox.history import OperationRecord, Ordered, TransactionRecord, page
from offerhub.sandbox.house import AccountExists, House
from offerhub.sandbox.results import result_codes, result_xdr
from offerhub.sandbox.stream import event_stream

PAGE_DEFAULT: Final = 10
PAGE_MAX: Final = 200
CURSOR_NOW: Final = "now"


class Problem(Exception):
    """An answer of type application/problem+json."""

    def __init__(self, status: int, kind: str, title: str, detail: str, extras: Any = None) -> None:
        super().__init__(detail)
        self.status = status
        self.body: dict[str, Any] = {
            "type": f"https://stellar.org/horizon-errors/{kind}",
            "title": title,
            "status": status,
            "detail": detail,
        }
        if extras is not None:
            self.body["extras"] = extras


def problem_response(request: Request, error: Exception) -> Response:
    """The exception handler for Problem."""
    assert isinstance(error, Problem)
    return JSONResponse(error.body, error.status, media_type="application/problem+json")


def _missing() -> Problem:
    return Problem(404, "not_found", "Resource Missing", "The resource at the url requested was not found.")


def _bad(field: str, reason: str) -> Problem:
    detail = "The request you sent was invalid in some way."
    return Problem(400, "bad_request", "Bad Request", detail, {"invalid_field": field, "reason": reason})


@dataclass(frozen=True, slots=True)
class Query:
    """A collection's parameters."""

    cursor: int | None
    order: Literal["asc", "desc"]
    limit: int
    join: bool
    include_failed: bool


class HorizonFace:
    """Answers as Horizon does, from one chain."""

    def __init__(self, chain: Chain, house: House) -> None:
        self._chain = chain
        self._house = house

    def routes(self) -> list[Route]:
        """Every route of this face, without its prefix."""
        get = {
            "/": self._root,
            "/accounts/{account}": self._account,
            "/accounts/{account}/payments": self._payments,
            "/accounts/{account}/operations": self._operations,
            "/accounts/{account}/transactions": self._transactions,
            "/payments": self._payments,
            "/operations": self._operations,
            "/operations/{id}": self._operation,
            "/transactions": self._transactions,
            "/transactions/{hash}": self._transaction,
            "/transactions/{hash}/payments": self._payments,
            "/transactions/{hash}/operations": self._operations,
            "/ledgers": self._ledgers,
            "/ledgers/{sequence:int}": self._ledger,
            "/fee_stats": self._fee_stats,
            "/friendbot": self._friendbot,
        }
        routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in get.items()]
        routes.insert(0, Route("/transactions", self._submit, methods=["POST"]))
        return routes

    async def _root(self, request: Request) -> Response:
        latest = self._chain.latest
        return self._answer(
            {
                "horizon_version": "28.0.0-sandbox",
                "core_version": "offerhub-sandbox",
                "ingest_latest_ledger": latest.sequence,
                "history_latest_ledger": latest.sequence,
                "history_latest_ledger_closed_at": shapes.moment(latest.closed_at),
                "history_elder_ledger": 1,
                "core_latest_ledger": latest.sequence,
                "network_passphrase": self._chain.options.network_passphrase,
                "current_protocol_version": shapes.PROTOCOL,
                "supported_protocol_version": shapes.PROTOCOL,
                "core_supported_protocol_version": shapes.PROTOCOL,
            }
        )

    async def _account(self, request: Request) -> Response:
        account = self._chain.state.accounts.get(_address(request))
        if account is None:
            raise _missing()
        return self._answer(shapes.account(account, self._chain.state))

    async def _payments(self, request: Request) -> Response:
        history = self._chain.history
        if "hash" in request.path_params:
            records = [record for record in self._by_hash(request).operations if record.is_payment]
        elif "account" in request.path_params:
            records = history.account_payments.get(self._known_account(request), [])
        else:
            records = history.payments
        return self._operation_page(request, records)

    async def _operations(self, request: Request) -> Response:
        history = self._chain.history
        if "hash" in request.path_params:
            records = self._by_hash(request).operations
        elif "account" in request.path_params:
            records = history.account_operations.get(self._known_account(request), [])
        else:
            records = history.operations
        return self._operation_page(request, records)

    def _operation_page(self, request: Request, records: Sequence[OperationRecord]) -> Response:
        query = self._query(request)
        # One failed transaction asked for by its hash shows its operations anyway.
        failed_too = query.include_failed or "hash" in request.path_params
        base = _base_url(request)

        def shape(record: OperationRecord) -> dict[str, Any]:
            return shapes.operation(record, base, join=query.join)

        def visible(record: OperationRecord) -> bool:
            return failed_too or record.success

        if _wants_stream(request):
            return event_stream(self._chain, records, query.cursor, query.limit, visible, shape)
        shown = page(records, query.cursor, query.order, query.limit, visible)
        return self._collection(request, query, shown, [shape(record) for record in shown])

    async def _transactions(self, request: Request) -> Response:
        query, history = self._query(request), self._chain.history
        records: Sequence[TransactionRecord] = history.transactions
        if "account" in request.path_params:
            records = history.account_transactions.get(self._known_account(request), [])

        def visible(record: TransactionRecord) -> bool:
            return record.success or query.include_failed

        shown = page(records, query.cursor, query.order, query.limit, visible)
        base = _base_url(request)
        return self._collection(request, query, shown, [shapes.transaction(record, base) for record in shown])

    async def _operation(self, request: Request) -> Response:
        text = request.path_params["id"]
        record = self._chain.history.operation(int(text)) if text.isdecimal() else None
        if record is None:
            raise _missing()
        join = request.query_params.get("join") == "transactions"
        return self._answer(shapes.operation(record, _base_url(request), join=join))

    async def _transaction(self, request: Request) -> Response:
        return self._answer(shapes.transaction(self._by_hash(request), _base_url(request)))

    async def _submit(self, request: Request) -> Response:
        text = parse_qs((await request.body()).decode("latin-1")).get("tx", [""])[0]
        if not text:
            raise _bad("tx", "the form field tx is required")
        try:
            envelope = self._chain.decode(text)
        except Malformed as error:
            raise Problem(
                400,
                "transaction_malformed",
                "Transaction Malformed",
                "Horizon could not decode the transaction envelope in this request.",
                {"envelope_xdr": text},
            ) from error
        try:
            record = await self._chain.submit(envelope)
        except Rejected as rejected:
            outcome = rejected.outcome
            raise _failed(
                text, result_codes(outcome, envelope.inner_hash), result_xdr(outcome, 0, envelope.inner_hash)
            ) from rejected
        except SubmissionTimeout as timeout:
            raise Problem(
                504,
                "transaction_submission_timeout",
                "Transaction Submission Timeout",
                "Your transaction submission request has timed out. This does not mean that it has failed.",
                {"hash": envelope.hash, "envelope_xdr": text},
            ) from timeout
        if not record.success:
            raise _failed(text, result_codes(record.outcome, envelope.inner_hash), record.result_xdr)
        return self._answer(shapes.transaction(record, _base_url(request)))

    async def _ledgers(self, request: Request) -> Response:
        query = self._query(request)
        shown = page(self._chain.history.ledgers, query.cursor, query.order, query.limit)
        return self._collection(request, query, shown, [shapes.ledger(record) for record in shown])

    async def _ledger(self, request: Request) -> Response:
        record = self._chain.history.ledger(request.path_params["sequence"])
        if record is None:
            raise _missing()
        return self._answer(shapes.ledger(record))

    async def _fee_stats(self, request: Request) -> Response:
        names = ("max", "min", "mode", "p10", "p20", "p30", "p40", "p50", "p60", "p70", "p80", "p90", "p95")
        fees = {name: str(BASE_FEE) for name in (*names, "p99")}
        latest = str(self._chain.latest.sequence)
        return self._answer(
            {
                "last_ledger": latest,
                "last_ledger_base_fee": str(BASE_FEE),
                "ledger_capacity_usage": "0.03",
                "fee_charged": fees,
                "max_fee": fees,
            }
        )

    async def _friendbot(self, request: Request) -> Response:
        address = request.query_params.get("addr")
        if address is None or not StrKey.is_valid_ed25519_public_key(address):
            raise _bad("addr", "not a public key")
        try:
            record = await self._house.fund(address)
        except AccountExists as error:
            raise Problem(400, "bad_request", "Bad Request", "account already funded to starting balance") from error
        return self._answer(shapes.transaction(record, _base_url(request)))

    def _by_hash(self, request: Request) -> TransactionRecord:
        record = self._chain.history.by_hash.get(request.path_params["hash"].lower())
        if record is None:
            raise _missing()
        return record

    def _known_account(self, request: Request) -> str:
        address = _address(request)
        if address not in self._chain.state.accounts:
            raise _missing()
        return address

    def _query(self, request: Request) -> Query:
        given = request.query_params
        order, limit, cursor = given.get("order", "asc"), given.get("limit", ""), given.get("cursor", "")
        if order not in {"asc", "desc"}:
            raise _bad("order", "order must be asc or desc")
        if limit and not (limit.isdecimal() and 1 <= int(limit) <= PAGE_MAX):
            raise _bad("limit", f"limit must be 1 to {PAGE_MAX}")
        position: int | None = None
        if cursor == CURSOR_NOW:
            position = (self._chain.latest.sequence + 1) << 32
        elif cursor:
            if not cursor.isdecimal():
                raise _bad("cursor", "cursor must be a paging token or now")
            position = int(cursor)
        return Query(
            position,
            "asc" if order == "asc" else "desc",
            int(limit) if limit else PAGE_DEFAULT,
            given.get("join") == "transactions",
            given.get("include_failed") == "true",
        )

    def _collection(
        self, request: Request, query: Query, shown: Sequence[Ordered], bodies: list[dict[str, Any]]
    ) -> Response:
        def link(cursor: str, order: str) -> dict[str, str]:
            return {"href": str(request.url.include_query_params(cursor=cursor, order=order, limit=query.limit))}

        last = str(shown[-1].id) if shown else request.query_params.get("cursor", "")
        first = str(shown[0].id) if shown else last
        other = "desc" if query.order == "asc" else "asc"
        links = {
            "self": {"href": str(request.url)},
            "next": link(last, query.order),
            "prev": link(first, other),
        }
        return self._answer({"_links": links, "_embedded": {"records": bodies}})

    def _answer(self, body: dict[str, Any]) -> Response:
        headers = {"Latest-Ledger": str(self._chain.latest.sequence)}
        return JSONResponse(body, headers=headers, media_type="application/hal+json; charset=utf-8")


def _failed(envelope_xdr: str, codes: dict[str, Any], result: str) -> Problem:
    return Problem(
        400,
        "transaction_failed",
        "Transaction Failed",
        "The transaction failed when submitted to the stellar network.",
        {"envelope_xdr": envelope_xdr, "result_codes": codes, "result_xdr": result},
    )


def _address(request: Request) -> str:
    address: str = request.path_params["account"]
    if not StrKey.is_valid_ed25519_public_key(address):
        raise _bad("account_id", "Account ID must start with `G` and contain 56 alphanum characters")
    return address


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _wants_stream(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")

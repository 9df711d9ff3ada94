"""The Horizon face: reads, and submission that waits for the next ledger (providers.md 6.4, 6.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from stellar_sdk import StrKey

from offerhub.kernel.money import format_chain_amount
from offerhub.sandbox import horizon_json as shapes
from offerhub.sandbox.chain import Chain
from offerhub.sandbox.faulty_wire import cut_of, fault_in
from offerhub.sandbox.history import OperationRecord, Ordered, TransactionRecord, page
from offerhub.sandbox.horizon_submit import Submissions
from offerhub.sandbox.house import AccountExists, House
from offerhub.sandbox.problem import Problem, bad, missing
from offerhub.sandbox.state import Claimable
from offerhub.sandbox.stream import EventStream, StreamFault

PAGE_DEFAULT: Final = 10
PAGE_MAX: Final = 200
CURSOR_NOW: Final = "now"
STREAM_FAULTS: Final = ("stream_cut", "stream_duplicate", "stream_byebye", "stream_error", "stream_silence")


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
            "/claimable_balances": self._claimable_balances,
            "/claimable_balances/{id}": self._claimable_balance,
            "/fee_stats": self._fee_stats,
            "/friendbot": self._friendbot,
        }
        routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in get.items()]
        submissions = Submissions(self._chain)
        routes.insert(0, Route("/transactions", submissions.wait, methods=["POST"]))
        routes.append(Route("/transactions_async", submissions.at_once, methods=["POST"]))
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
                "history_elder_ledger": self._elder(request) or 1,
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
            raise missing()
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
            fault = fault_in(request, *STREAM_FAULTS)
            broken = None if fault is None else StreamFault(fault.kind, cut_of(request))
            stream = EventStream(self._chain, records, query.cursor, query.limit, visible, shape, broken)
            return stream.response()
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
            raise missing()
        join = request.query_params.get("join") == "transactions"
        return self._answer(shapes.operation(record, _base_url(request), join=join))

    async def _transaction(self, request: Request) -> Response:
        return self._answer(shapes.transaction(self._by_hash(request), _base_url(request)))

    async def _claimable_balances(self, request: Request) -> Response:
        claimant = request.query_params.get("claimant")
        found = [
            one for one in self._chain.state.claimables.values() if claimant is None or claimant in one.claimants
        ]
        return self._answer({"_embedded": {"records": [_claimable(one) for one in found]}})

    async def _claimable_balance(self, request: Request) -> Response:
        found = self._chain.state.claimables.get(request.path_params["id"])
        if found is None:
            raise missing()
        return self._answer(_claimable(found))

    async def _ledgers(self, request: Request) -> Response:
        query = self._query(request)
        shown = page(self._chain.history.ledgers, query.cursor, query.order, query.limit)
        return self._collection(request, query, shown, [shapes.ledger(record) for record in shown])

    async def _ledger(self, request: Request) -> Response:
        record = self._chain.history.ledger(request.path_params["sequence"])
        if record is None:
            raise missing()
        return self._answer(shapes.ledger(record))

    async def _fee_stats(self, request: Request) -> Response:
        names = ("max", "min", "mode", "p10", "p20", "p30", "p40", "p50", "p60", "p70", "p80", "p90", "p95")
        base = str(self._chain.state.rules.base_fee)
        fees = dict.fromkeys((*names, "p99"), base)
        latest = str(self._chain.latest.sequence)
        return self._answer(
            {
                "last_ledger": latest,
                "last_ledger_base_fee": base,
                "ledger_capacity_usage": "0.03",
                "fee_charged": fees,
                "max_fee": fees,
            }
        )

    async def _friendbot(self, request: Request) -> Response:
        address = request.query_params.get("addr")
        if address is None or not StrKey.is_valid_ed25519_public_key(address):
            raise bad("addr", "not a public key")
        try:
            record = await self._house.fund(address)
        except AccountExists as error:
            raise Problem(400, "bad_request", "Bad Request", "account already funded to starting balance") from error
        return self._answer(shapes.transaction(record, _base_url(request)))

    def _by_hash(self, request: Request) -> TransactionRecord:
        record = self._chain.history.by_hash.get(request.path_params["hash"].lower())
        if record is None:
            raise missing()
        return record

    def _known_account(self, request: Request) -> str:
        address = _address(request)
        if address not in self._chain.state.accounts:
            raise missing()
        return address

    def _query(self, request: Request) -> Query:
        given = request.query_params
        order, limit, cursor = given.get("order", "asc"), given.get("limit", ""), given.get("cursor", "")
        if order not in {"asc", "desc"}:
            raise bad("order", "order must be asc or desc")
        if limit and not (limit.isdecimal() and 1 <= int(limit) <= PAGE_MAX):
            raise bad("limit", f"limit must be 1 to {PAGE_MAX}")
        position: int | None = None
        if cursor == CURSOR_NOW:
            position = (self._chain.latest.sequence + 1) << 32
        elif cursor:
            if not cursor.isdecimal():
                raise bad("cursor", "cursor must be a paging token or now")
            position = int(cursor)
        elder = self._elder(request)
        if elder is not None and (position or 0) >> 32 < elder:
            raise Problem(
                410, "before_history", "Data Requested Is Before Recorded History", "The cursor is too old."
            )
        return Query(
            position,
            "asc" if order == "asc" else "desc",
            int(limit) if limit else PAGE_DEFAULT,
            given.get("join") == "transactions",
            given.get("include_failed") == "true",
        )

    def _elder(self, request: Request) -> int | None:
        """The oldest ledger that is still known, when some have been forgotten."""
        fault = fault_in(request, "history_gone")
        if fault is None:
            return None
        kept = fault.request.value if isinstance(fault.request.value, int) else 1
        return self._chain.latest.sequence - kept + 1

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


def _claimable(one: Claimable) -> dict[str, Any]:
    return {
        "id": one.id,
        "asset": one.asset,
        "amount": format_chain_amount(one.amount),
        "sponsor": one.sponsor,
        "last_modified_ledger": one.ledger,
        "claimants": [{"destination": claimant, "predicate": {"unconditional": True}} for claimant in one.claimants],
        "paging_token": f"{one.ledger}-{one.id}",
    }


def _address(request: Request) -> str:
    address: str = request.path_params["account"]
    if not StrKey.is_valid_ed25519_public_key(address):
        raise bad("account_id", "Account ID must start with `G` and contain 56 alphanum characters")
    return address


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _wants_stream(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")

"""Horizon: reading the chain, and submitting what was signed and stored before (providers.md 6.4, 6.5).

Reads raise StellarNetworkError when Horizon cannot be asked or answers nonsense; "there is no such account"
is a value (None). A submission never raises for the network: what cannot be known is `Unknown`, and then only
the hash, looked up later, decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import structlog

from offerhub.errors import StellarNetworkError
from offerhub.providers.stellar.network import Network
from offerhub.providers.stellar.records import (
    Account,
    FeeStats,
    Ledger,
    LedgerSpan,
    Transfer,
    TransferPage,
    WalletPayment,
    moment,
    read_account,
    read_fee_stats,
    read_page,
    read_transfers,
    read_wallet_payment,
)
from offerhub.runtime.http import Caller, GarbledAnswer, NoAnswer, NotSent, Response
from offerhub.runtime.line import HeldBack

T = TypeVar("T")
log = structlog.stdlib.get_logger("offerhub.horizon")

PAGE_RECORDS_MAX: Final = 200
READ_TIMEOUT_SECONDS: Final = 10.0
SUBMIT_TIMEOUT_SECONDS: Final = 45.0
"""Horizon waits about 30 s for inclusion before it answers 504; hanging up earlier would only hide that."""

_INCLUDED_CODES: Final = frozenset({"tx_success", "tx_failed"})
_UNKNOWN_CODES: Final = frozenset({"tx_internal_error"})


class CursorTooOld(StellarNetworkError):
    """The cursor is older than what the provider keeps: deposits in between must be found elsewhere."""


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """A transaction that is in a ledger. A failed one has used up its fee and sequence number.

    `hash` is the one it was asked by, `ledger_hash` the one that ledgers list, which is a fee bump's own. Codes are
    Horizon's names; those of a fee bump are the inner transaction's. `returned_contract` is the C… address that a
    contract call returned (a deployer returns the new contract), None as well when this Horizon keeps no transaction
    meta.
    """

    hash: str
    ledger: int
    successful: bool
    created_at: datetime
    source_account: str
    result_xdr: str
    code: str
    operation_codes: tuple[str, ...]
    returned_contract: str | None
    ledger_hash: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The transaction is in a ledger and succeeded, now or on an earlier submission.

    `inner_hash` is that of the transaction inside a fee bump.
    """

    hash: str
    ledger: int
    inner_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Horizon says no. When `included`, the failed transaction is in a ledger and the verdict is final.

    When not, look the hash up before believing it: `tx_bad_seq` is also the answer to a transaction that
    was included a moment ago. `code` is the inner transaction's for a fee bump.
    """

    code: str
    operation_codes: tuple[str, ...]
    included: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows yet. Look the hash up; submit the same bytes again."""

    reason: str


Submission = Accepted | Rejected | Unknown


class Horizon:
    """The client of one Horizon, and of the friendbot beside it, each reached through a line of its own.

    Time-outs are seconds for a whole call.
    """

    def __init__(
        self,
        http: Caller,
        network: Network,
        *,
        friendbot: Caller | None = None,
        timeout_seconds: float = READ_TIMEOUT_SECONDS,
        submit_timeout_seconds: float = SUBMIT_TIMEOUT_SECONDS,
    ) -> None:
        self.network = network
        self._http = http
        self._friendbot = friendbot or http
        self._base = network.horizon_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._submit_timeout_seconds = submit_timeout_seconds

    async def account(self, address: str) -> Account | None:
        """The account, or None when it does not exist on the chain."""
        body = await self._get("account", f"/accounts/{quote(address, safe='')}")
        return None if body is None else _shaped(lambda: read_account(body, self.network.usdc))

    async def latest_ledger(self) -> Ledger:
        """The newest ledger; compare its time with a transaction's maxTime, never our own clock."""
        records = await self._records("latest_ledger", "/ledgers", order="desc", limit=1)
        return _shaped(lambda: Ledger(int(records[0]["sequence"]), moment(records[0]["closed_at"])))

    async def fee_stats(self) -> FeeStats:
        """What inclusion has cost in the last ledgers."""
        body = await self._get("fee_stats", "/fee_stats")
        if body is None:
            raise StellarNetworkError("Horizon tells no fees.")
        return _shaped(lambda: read_fee_stats(body))

    async def transaction(self, transaction_hash: str) -> ChainTransaction | None:
        """What became of a transaction, or None when no ledger known to this Horizon holds it."""
        body = await self._get("transaction", f"/transactions/{quote(transaction_hash, safe='')}")
        return None if body is None else _shaped(lambda: _read_transaction(transaction_hash, body))

    async def transfers(self, transaction_hash: str) -> list[Transfer]:
        """Every credit of a transaction, in order; empty when it is unknown or moved nothing."""
        path = f"/transactions/{quote(transaction_hash, safe='')}/payments"
        # A transaction has at most 100 operations, so one page is all of it.
        records = await self._records("transfers", path, limit=PAGE_RECORDS_MAX, join="transactions")
        return _shaped(lambda: [transfer for record in records for transfer in read_transfers(record)])

    async def payments_after(self, cursor: str | None, limit: int = PAGE_RECORDS_MAX) -> TransferPage:
        """The credits of the whole network after a cursor (None: since the beginning), oldest first.

        Raises CursorTooOld when Horizon no longer holds that part of history.
        """
        query: dict[str, Any] = {"order": "asc", "limit": limit, "join": "transactions"}
        if cursor is not None:
            query["cursor"] = cursor
        path = f"{self._base}/payments"
        answer = await self._ask(self._http, "payments", path, _query(query), self._timeout_seconds)
        body: Any = self._body("payments", answer)
        records = _shaped(lambda: body["_embedded"]["records"])
        told = answer.headers.get("latest-ledger", "")
        return _shaped(lambda: read_page(records, cursor, limit, int(told) if told.isdecimal() else None))

    async def span(self) -> LedgerSpan:
        """The ledgers that this Horizon has."""
        body: Any = await self._get("root", "/")
        return _shaped(lambda: LedgerSpan(int(body["history_elder_ledger"]), int(body["history_latest_ledger"])))

    async def ledger_hash(self, sequence: int) -> str | None:
        """The hash of a ledger, None when this Horizon does not have it."""
        try:
            body = await self._get("ledger", f"/ledgers/{sequence}")
        except CursorTooOld:
            return None
        return None if body is None else _shaped(lambda: str(body["hash"]))

    async def newest_payment_cursor(self) -> str | None:
        """The paging token of the newest operation that moved money: where a new watcher may begin."""
        records = await self._records("newest_payment", "/payments", order="desc", limit=1)
        return _shaped(lambda: str(records[0]["paging_token"])) if records else None

    async def account_payments(self, address: str, limit: int) -> list[WalletPayment]:
        """The newest payments and account creations, at most `limit`; empty when there is no account."""
        path = f"/accounts/{quote(address, safe='')}/payments"
        # Other types are dropped, so a page of exactly `limit` would come out too short.
        records = await self._records("account_payments", path, order="desc", limit=PAGE_RECORDS_MAX)
        lines = _shaped(lambda: [read_wallet_payment(record) for record in records])
        return [line for line in lines if line is not None][:limit]

    async def account_transfers(self, address: str, before: str | None = None) -> TransferPage:
        """The credits around one account, newest first, from before a cursor; empty when there is no account."""
        path = f"/accounts/{quote(address, safe='')}/payments"
        query: dict[str, Any] = {"order": "desc", "limit": PAGE_RECORDS_MAX, "join": "transactions"}
        if before is not None:
            query["cursor"] = before
        records = await self._records("account_transfers", path, **query)
        return _shaped(lambda: read_page(records, before, PAGE_RECORDS_MAX))

    async def friendbot(self, address: str) -> None:
        """Ask for test XLM. An account that exists already counts as done.

        Raises StellarNetworkError when this network has no friendbot, or it refuses.
        """
        if self.network.friendbot_url is None:
            raise StellarNetworkError("This network has no friendbot.")
        answer = await self._ask(
            self._friendbot,
            "friendbot",
            self.network.friendbot_url,
            [("addr", address)],
            self._submit_timeout_seconds,
        )
        # Its words for "exists already" have changed over the years; the account itself is better evidence.
        if answer.status != 200 and await self.account(address) is None:
            raise StellarNetworkError(
                "Friendbot refused to fund the account.", status=answer.status, answer=answer.text[:300]
            )

    async def submit(self, envelope_xdr: str) -> Submission:
        """Submit a signed envelope (base64). Submitting the same bytes again is always safe."""
        try:
            answer = await self._http.call(
                "POST",
                f"{self._base}/transactions",
                name="horizon.submit",
                timeout_seconds=self._submit_timeout_seconds,
                headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
                body=urlencode({"tx": envelope_xdr}).encode(),
            )
            _alert("submit", answer)
            return classify_submission(answer.status, answer.json())
        except (NotSent, NoAnswer, GarbledAnswer) as error:
            return Unknown(str(error))

    async def _records(self, name: str, path: str, **query: Any) -> list[Any]:
        body = await self._get(name, path, _query(query))
        if body is None:
            return []
        records = _shaped(lambda: body["_embedded"]["records"])
        if not isinstance(records, list):
            raise StellarNetworkError("Horizon answered in an unknown form.")
        return records

    async def _get(self, name: str, path: str, query: Sequence[tuple[str, str]] = ()) -> Any | None:
        answer = await self._ask(self._http, name, self._base + path, query, self._timeout_seconds)
        return None if answer.status == 404 else self._body(name, answer)

    def _body(self, name: str, answer: Response) -> Any:
        if answer.status == 410:
            raise CursorTooOld(status=410)
        if answer.status != 200:
            raise StellarNetworkError(f"Horizon answered {answer.status}.", call=name, status=answer.status)
        return _shaped(answer.json)

    async def _ask(
        self, http: Caller, name: str, url: str, query: Sequence[tuple[str, str]], timeout_seconds: float
    ) -> Response:
        try:
            answer = await http.call(
                "GET",
                url,
                name=f"horizon.{name}",
                timeout_seconds=timeout_seconds,
                headers={"accept": "application/json"},
                query=query,
            )
        except HeldBack as error:
            raise StellarNetworkError(str(error), call=name, heldBack=error.reason) from error
        except (NotSent, NoAnswer) as error:
            raise StellarNetworkError("Horizon cannot be reached.", call=name, reason=str(error)) from error
        _alert(name, answer)
        return answer


def _alert(call: str, answer: Response) -> None:
    """Tell the operator what only the operator can mend: the Horizon of a provider may want a key in its address."""
    if answer.status in {401, 403}:
        log.error("horizon.credentials_refused", call=call, status=answer.status)


def _query(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, str(value)) for key, value in told.items()]


def _shaped(read: Callable[[], T]) -> T:
    """Run a reader of Horizon's answer; whatever it stumbles over is Horizon's fault."""
    try:
        return read()
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        detail = f"{type(error).__name__}: {error}"[:200]
        raise StellarNetworkError("Horizon answered in an unknown form.", reason=detail) from error


def classify_submission(status: int, body: Any) -> Submission:
    """What an answer to `POST /transactions` means (the table of providers.md 6.4)."""
    if not isinstance(body, dict):
        return Unknown(f"HTTP {status} in an unknown form")
    if status == 200:
        ledger = body.get("ledger")
        if isinstance(body.get("hash"), str) and isinstance(ledger, int) and body.get("successful") is not False:
            inner = body.get("inner_transaction")
            return Accepted(body["hash"], ledger, inner.get("hash") if isinstance(inner, dict) else None)
        return Unknown("HTTP 200 in an unknown form")
    kind = str(body.get("type", "")).rsplit("/", 1)[-1]
    if status == 400 and kind == "transaction_malformed":
        return Rejected(kind, (), included=False)
    if status == 400 and kind == "transaction_failed":
        return _classify_failure(body.get("extras"))
    return Unknown(f"HTTP {status} {kind}".rstrip())


def _classify_failure(extras: Any) -> Submission:
    codes = extras.get("result_codes") if isinstance(extras, dict) else None
    if not isinstance(codes, dict):
        return Unknown("transaction_failed without codes")
    code = codes.get("inner_transaction") or codes.get("transaction")
    if not isinstance(code, str) or code in _UNKNOWN_CODES:
        return Unknown(f"transaction_failed: {code}")
    operations = codes.get("operations") or []
    # Only a transaction that reached its operations was included; every other code is a refusal at the door.
    return Rejected(code, tuple(map(str, operations)), included=code in _INCLUDED_CODES)


def _read_transaction(transaction_hash: str, body: dict[str, Any]) -> ChainTransaction:
    # Loads stellar-sdk, which takes a second: only now, and only once.
    from offerhub.providers.stellar.results import decode_result, returned_contract

    code, operation_codes = decode_result(body["result_xdr"])
    successful = body["successful"] is True
    if successful != (code == "tx_success"):
        raise ValueError(f"successful is {successful} but the result is {code}")
    meta = body.get("result_meta_xdr")
    return ChainTransaction(
        hash=transaction_hash,
        ledger=int(body["ledger"]),
        successful=successful,
        created_at=moment(body["created_at"]),
        source_account=body["source_account"],
        result_xdr=body["result_xdr"],
        code=code,
        operation_codes=operation_codes,
        returned_contract=returned_contract(meta) if successful and meta else None,
        ledger_hash=body["hash"],
    )

"""The client of Trustless Work v1: have transactions built, submit them signed, read balances (providers.md 4).

Building has no effect, so it may always be repeated; it raises the errors of the catalogue. Submitting is the
other way round: it never raises for what the provider says, because anything but a clear success is only a hint,
and the transaction's hash on the chain decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import structlog

from offerhub.errors import (
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
)
from offerhub.kernel.money import Units
from offerhub.providers.numbers import units_of
from offerhub.providers.trustless_work.intents import EscrowType, Intent
from offerhub.providers.trustless_work.wire import (
    ESCROW_NOT_FOUND,
    EscrowView,
    read_escrow,
    read_refusal,
    request_for,
)
from offerhub.runtime.http import Caller, GarbledAnswer, NoAnswer, NotSent, Response
from offerhub.runtime.line import HeldBack

TIMEOUT_SECONDS: Final = 60.0
BALANCES_PER_CALL_MAX: Final = 20
_PROVIDER: Final = "trustless_work"

_REFUSES_US: Final = frozenset({401, 403})

log = structlog.get_logger("offerhub.trustless_work")


@dataclass(frozen=True, slots=True)
class Sent:
    """The API says that the transaction succeeded. A deployment also names its contract."""

    message: str
    contract_id: str | None


@dataclass(frozen=True, slots=True)
class SendRejected:
    """The API says that it failed. A hint: look the hash up before believing it."""

    message: str
    contract_error: int | None


@dataclass(frozen=True, slots=True)
class SendUnknown:
    """No usable answer. Look the hash up; the same bytes may be sent again."""

    reason: str


class TrustlessWork:
    """One API key on one host, reached through a line."""

    def __init__(
        self,
        http: Caller,
        base_url: str,
        api_key: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._http = http
        self._base = base_url.rstrip("/")
        self._headers = {
            "x-api-key": api_key,
            "accept": "application/json",
            "content-type": "application/json",
        }
        self._timeout_seconds = timeout_seconds

    async def build(self, intent: Intent) -> str:
        """The unsigned transaction (base64 XDR) that the API builds for an intent. Verify it before signing.

        Raises ProviderError with `details.message` and, where known, `details.contract_error`;
        ProviderRateLimited, ProviderUnavailable or ProviderTimeout when it may simply be asked again.
        """
        path, body = request_for(intent)
        name = type(intent).__name__.removesuffix("Intent").lower()
        answer = _expect_object(
            await self._json(f"build_{name}", "POST", path, escrow_type=intent.escrow_type, body=body)
        )
        unsigned = answer.get("unsignedTransaction")
        if answer.get("status") != "SUCCESS" or not isinstance(unsigned, str):
            refused = read_refusal(answer, "no transaction in the answer", intent.escrow_type)
            raise ProviderError("Trustless Work built no transaction.", provider=_PROVIDER, **refused.details())
        return unsigned

    async def send(self, signed_xdr: str) -> Sent | SendRejected | SendUnknown:
        """Submit a signed transaction through the API, which also updates its index."""
        body = msgspec.json.encode({"signedXdr": signed_xdr})
        try:
            response = await self._call("send", "POST", "/helper/send-transaction", body=body)
            return _read_sent(response)
        except (NotSent, NoAnswer, GarbledAnswer) as error:
            return SendUnknown(str(error))

    async def index(self, transaction_hash: str) -> None:
        """Tell the API of a transaction of its own building that went past it. Only its index gains by that."""
        body = msgspec.json.encode({"txHash": transaction_hash})
        try:
            response = await self._call("index", "POST", "/indexer/update-from-txHash", body=body)
        except (NotSent, NoAnswer) as error:
            log.warning("escrow_not_indexed", hash=transaction_hash, reason=str(error))
            return
        if response.status not in {200, 201}:
            log.warning("escrow_not_indexed", hash=transaction_hash, status=response.status)

    async def reach(self) -> None:
        """See whether the API answers us, whatever it says.

        Raises ProviderUnavailable, ProviderTimeout, or ProviderError when it refuses our key.
        """
        response = await self._ask("reach", "GET", "/")
        if response.status >= 500 or response.status in _REFUSES_US:
            _raise_for_status(response, "reach")

    async def balances(self, contract_ids: Sequence[str]) -> dict[str, Units]:
        """The USDC that each contract holds, by contract id. Asked for 20 at a time; raises like `build`."""
        found: dict[str, Units] = {}
        for start in range(0, len(contract_ids), BALANCES_PER_CALL_MAX):
            part = contract_ids[start : start + BALANCES_PER_CALL_MAX]
            query = [("addresses[]", contract_id) for contract_id in part]
            rows = await self._json("balances", "GET", "/helper/get-multiple-escrow-balance", query=query)
            try:
                found |= {row["address"]: units_of(row["balance"]) for row in rows}
            except (KeyError, TypeError, ValueError) as error:
                raise _garbled(error) from error
        return found

    async def escrow(self, contract_id: str) -> EscrowView | None:
        """The escrow in the API's index, checked against the chain by the API; None when it knows none."""
        query = [("contractIds[]", contract_id), ("validateOnChain", "true")]
        try:
            rows = await self._json("escrow", "GET", "/helper/get-escrow-by-contract-ids", query=query)
        except ProviderError as error:
            # "Not found" is a 400 here; only the words tell it from other refusals.
            if error.details.get("contract_error_name") == ESCROW_NOT_FOUND:
                return None
            raise
        try:
            return next((read_escrow(row) for row in rows if row["contractId"] == contract_id), None)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _garbled(error) from error

    async def _call(
        self,
        name: str,
        method: Literal["GET", "POST"],
        path: str,
        *,
        body: bytes | None = None,
        query: Sequence[tuple[str, str]] = (),
    ) -> Response:
        response = await self._http.call(
            method,
            self._base + path,
            name=f"{_PROVIDER}.{name}",
            timeout_seconds=self._timeout_seconds,
            headers=self._headers,
            query=query,
            body=body,
        )
        if response.status in _REFUSES_US:
            # Only a person can mend it.
            log.error("trustless_work.credentials_refused", call=name, status=response.status)
        return response

    async def _ask(self, name: str, method: Literal["GET", "POST"], path: str, **sent: Any) -> Response:
        """A call without effect: its answer, whatever the status, or an error of the catalogue."""
        try:
            return await self._call(name, method, path, **sent)
        except HeldBack as error:
            raise ProviderUnavailable(str(error), provider=_PROVIDER, heldBack=error.reason) from error
        except NotSent as error:
            raise ProviderUnavailable("Trustless Work cannot be reached.", provider=_PROVIDER) from error
        except NoAnswer as error:
            raise ProviderTimeout("Trustless Work did not answer.", provider=_PROVIDER, call=name) from error

    async def _json(
        self,
        name: str,
        method: Literal["GET", "POST"],
        path: str,
        *,
        escrow_type: EscrowType = "single-release",
        **sent: Any,
    ) -> Any:
        """A call without effect: its decoded answer, or an error of the catalogue.

        The type is that of the contract which is asked about; its errors are told in its words.
        """
        response = await self._ask(name, method, path, **sent)
        _raise_for_status(response, name, escrow_type)
        try:
            return response.json()
        except GarbledAnswer as error:
            raise _garbled(error) from error


def _raise_for_status(response: Response, call: str, escrow_type: EscrowType = "single-release") -> None:
    status = response.status
    if status in {200, 201}:
        return
    if status == 429:
        raise ProviderRateLimited(provider=_PROVIDER, call=call, retry_after=response.headers.get("retry-after"))
    if status >= 500:
        raise ProviderUnavailable(provider=_PROVIDER, call=call, status=status)
    if status in _REFUSES_US:
        raise ProviderError("Trustless Work refused our API key.", provider=_PROVIDER, call=call, status=status)
    refused = read_refusal(_body_of(response), response.text, escrow_type)
    raise ProviderError(
        "Trustless Work refused the call.", provider=_PROVIDER, call=call, status=status, **refused.details()
    )


def _read_sent(response: Response) -> Sent | SendRejected | SendUnknown:
    if response.status == 429 or response.status >= 500:
        return SendUnknown(f"HTTP {response.status}: {response.text[:300]}")
    body = response.json() if response.status in {200, 201} else _body_of(response)
    refused = read_refusal(body, response.text)
    if response.status not in {200, 201} or not isinstance(body, dict) or body.get("status") != "SUCCESS":
        return SendRejected(refused.message, refused.contract_error)
    contract_id = body.get("contractId")
    return Sent(refused.message, contract_id if isinstance(contract_id, str) else None)


def _body_of(response: Response) -> Any:
    """An error's body when it is JSON; errors of a proxy in between are not."""
    try:
        return response.json()
    except GarbledAnswer:
        return None


def _expect_object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise _garbled(TypeError("not an object"))
    return body


def _garbled(error: Exception) -> ProviderError:
    return ProviderError("Trustless Work answered in an unknown form.", provider=_PROVIDER, reason=str(error)[:200])

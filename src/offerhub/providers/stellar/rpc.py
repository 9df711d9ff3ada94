"""Stellar RPC: JSON-RPC 2.0 to a node of the network (providers.md 6.6).

Reads raise StellarNetworkError when the node cannot be asked, refuses or answers nonsense. It keeps a week of history
by default, and tells payments as events only when it is run with EMIT_CLASSIC_EVENTS.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from offerhub.errors import StellarNetworkError
from offerhub.providers.stellar.events import read_credits
from offerhub.providers.stellar.horizon import CursorTooOld
from offerhub.providers.stellar.network import Network
from offerhub.providers.stellar.records import LedgerSpan, TransferPage
from offerhub.runtime.http import Caller, GarbledAnswer, NoAnswer, NotSent
from offerhub.runtime.line import HeldBack

T = TypeVar("T")

READ_TIMEOUT_SECONDS: Final = 10.0
EVENTS_MAX: Final = 200
"""As many as Horizon gives at once: what is booked in one transaction stays small."""
EVENTS_OF_ONE_OPERATION_MAX: Final = 10_000
"""The most that a node gives at once, and more than one operation can emit."""
_INVALID_REQUEST: Final = -32600


class RpcRefused(StellarNetworkError):
    """The node answers with an error."""

    def __init__(self, call: str, code: int, message: str) -> None:
        super().__init__("The RPC node refused the call.", call=call, rpcCode=code, answer=message[:200])
        self.rpc_code = code


class Rpc:
    """The client of one RPC node. Time-outs are seconds for a whole call."""

    def __init__(
        self, http: Caller, network: Network, url: str, *, timeout_seconds: float = READ_TIMEOUT_SECONDS
    ) -> None:
        self.network = network
        self._http = http
        self._url = url
        self._timeout_seconds = timeout_seconds

    async def span(self) -> LedgerSpan:
        """The ledgers that the node has. Raises StellarNetworkError also when it says that it is unwell."""
        result = await self.call("getHealth")
        return shaped(lambda: LedgerSpan(int(result["oldestLedger"]), int(result["latestLedger"])))

    async def reach(self) -> None:
        """Returns when the node is well. Raises StellarNetworkError."""
        await self.span()

    async def ledger_hash(self, sequence: int) -> str | None:
        """The hash of a ledger, None when the node does not have it."""
        try:
            result = await self.call("getLedgers", startLedger=sequence, pagination={"limit": 1})
        except RpcRefused as error:
            if error.rpc_code == _INVALID_REQUEST:
                return None
            raise
        ledgers = shaped(lambda: {int(one["sequence"]): str(one["hash"]) for one in result["ledgers"]})
        return ledgers.get(sequence)

    async def credits_after(self, cursor: str) -> TransferPage:
        """The credits of USDC on the whole network after a cursor, oldest first.

        One filter for the token's contract serves every wallet there is. Raises CursorTooOld when the node no longer
        holds that part of history.
        """
        page = await self._page(cursor, EVENTS_MAX)
        if page.cursor is None:
            # One operation fills the page, so nobody can tell whether it is whole.
            page = await self._page(cursor, EVENTS_OF_ONE_OPERATION_MAX)
            if page.cursor is None:
                raise StellarNetworkError("One operation has more events than a node tells at once.", reason=cursor)
        return page

    async def _page(self, cursor: str, limit: int) -> TransferPage:
        contract = self.network.usdc_contract
        try:
            result = await self.call(
                "getEvents",
                filters=[{"type": "contract", "contractIds": [contract]}],
                pagination={"cursor": cursor, "limit": limit},
            )
        except RpcRefused as error:
            if error.rpc_code == _INVALID_REQUEST and ledger_of(cursor) < (await self.span()).oldest:
                raise CursorTooOld(reason=cursor) from error
            raise
        return shaped(lambda: read_credits(result, cursor, limit, self.network))

    async def call(self, method: str, **params: Any) -> Any:
        """The `result` of a method. Raises RpcRefused, StellarNetworkError."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            answer = await self._http.call(
                "POST",
                self._url,
                name=f"rpc.{method}",
                timeout_seconds=self._timeout_seconds,
                headers={"content-type": "application/json", "accept": "application/json"},
                body=json.dumps(body).encode(),
            )
            told = answer.json()
        except HeldBack as error:
            raise StellarNetworkError(str(error), call=method, heldBack=error.reason) from error
        except (NotSent, NoAnswer, GarbledAnswer) as error:
            raise StellarNetworkError("The RPC node cannot be reached.", call=method, reason=str(error)) from error
        if answer.status != 200 or not isinstance(told, Mapping):
            raise StellarNetworkError(f"The RPC node answered {answer.status}.", call=method, status=answer.status)
        if "error" in told:
            code, message = shaped(lambda: (int(told["error"]["code"]), str(told["error"]["message"])))
            raise RpcRefused(method, code, message)
        return shaped(lambda: told["result"])


def ledger_of(cursor: str) -> int:
    """The ledger in which a cursor is, of Horizon or of RPC: both begin with a TOID (SEP-35)."""
    return int(cursor.partition("-")[0]) >> 32


def shaped(read: Callable[[], T]) -> T:
    """Run a reader of the node's answer; whatever it stumbles over is the node's fault."""
    try:
        return read()
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        detail = f"{type(error).__name__}: {error}"[:200]
        raise StellarNetworkError("The RPC node answered in an unknown form.", reason=detail) from error

"""The RPC face: JSON-RPC 2.0 over the same ledger as Horizon's (providers.md 6.6).

It keeps only so many ledgers (`rpc_retention_ledgers`), and tells nothing that is older.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from offerhub.sandbox.chain import Chain, Malformed
from offerhub.sandbox.faults import Fault
from offerhub.sandbox.faulty_wire import fault_in
from offerhub.sandbox.horizon_json import PROTOCOL
from offerhub.sandbox.horizon_submit import NODE_FAULTS, offer_at_once
from offerhub.sandbox.rpc_entries import get_ledger_entries
from offerhub.sandbox.rpc_events import get_events
from offerhub.sandbox.rpc_history import get_ledgers, get_transaction, get_transactions, ledger_xdr
from offerhub.sandbox.rpc_problem import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    NO_METHOD,
    PARSE_ERROR,
    RpcProblem,
    RpcView,
    bad_params,
)
from offerhub.sandbox.rpc_simulate import simulate

PATH: Final = "/rpc"
_PERCENTILES: Final = ("p10", "p20", "p30", "p40", "p50", "p60", "p70", "p80", "p90", "p95", "p99")

Method = Callable[[Mapping[str, Any], RpcView, Fault | None], dict[str, Any]]


class RpcFace:
    """Answers as an RPC node does, from one chain."""

    def __init__(self, chain: Chain, friendbot_url: str) -> None:
        self._chain = chain
        self._friendbot_url = friendbot_url
        self._methods: dict[str, Method] = {
            "getHealth": self._health,
            "getNetwork": self._network,
            "getLatestLedger": lambda params, view, fault: self._latest(view),
            "getVersionInfo": lambda params, view, fault: _version(),
            "getFeeStats": self._fees,
            "getEvents": lambda params, view, fault: get_events(chain.history, view, params),
            "getTransaction": lambda params, view, fault: get_transaction(chain, view, params),
            "getTransactions": lambda params, view, fault: get_transactions(chain, view, params),
            "getLedgers": lambda params, view, fault: get_ledgers(chain, view, params),
            "getLedgerEntries": lambda params, view, fault: get_ledger_entries(chain, params.get("keys") or ()),
            "simulateTransaction": lambda params, view, fault: simulate(chain, _text(params, "transaction")),
            "sendTransaction": self._send,
        }

    def routes(self) -> list[Route]:
        """The one route of this face."""
        return [Route(PATH, self._answer, methods=["POST"])]

    async def _answer(self, request: Request) -> Response:
        try:
            asked = json.loads(await request.body())
        except ValueError:
            return _failed(None, RpcProblem(PARSE_ERROR, "parse error"))
        if not isinstance(asked, dict) or asked.get("jsonrpc") != "2.0" or not isinstance(asked.get("method"), str):
            return _failed(None, RpcProblem(INVALID_REQUEST, "invalid request"))
        identity, params = asked.get("id"), asked.get("params") or {}
        method = self._methods.get(asked["method"])
        if method is None:
            return _failed(identity, RpcProblem(NO_METHOD, f"no such method {asked['method']!r}"[:120]))
        if not isinstance(params, dict):
            return _failed(identity, bad_params("only named parameters are taken"))
        try:
            fault = fault_in(request, "history_gone", "node_behind", "tx_error", *NODE_FAULTS)
            result = method(params, self._view(fault), fault)
        except RpcProblem as problem:
            return _failed(identity, problem)
        return JSONResponse({"jsonrpc": "2.0", "id": identity, "result": result})

    def _view(self, fault: Fault | None) -> RpcView:
        """What the node knows of: less at the new end when it is behind, less at the old end when it forgets."""
        history, kind = self._chain.history, "" if fault is None else fault.kind
        told = fault.request.value if fault is not None and isinstance(fault.request.value, int) else 1
        latest = history.latest
        if kind == "node_behind":
            latest = history.at_most(latest.sequence - told)
        kept = told if kind == "history_gone" else self._chain.options.rpc_retention_ledgers
        oldest = max(history.ledgers[0].sequence, latest.sequence - kept + 1)
        return RpcView(latest, oldest, history.at_most(oldest).closed_at)

    def _health(self, params: Mapping[str, Any], view: RpcView, fault: Fault | None) -> dict[str, Any]:
        if fault is not None and fault.kind == "node_behind":
            raise RpcProblem(INTERNAL_ERROR, "latency since last known ledger closed is too high")
        return {
            "status": "healthy",
            "latestLedger": view.latest.sequence,
            "oldestLedger": view.oldest,
            "ledgerRetentionWindow": self._chain.options.rpc_retention_ledgers,
        }

    def _network(self, params: Mapping[str, Any], view: RpcView, fault: Fault | None) -> dict[str, Any]:
        return {
            "friendbotUrl": self._friendbot_url,
            "passphrase": self._chain.options.network_passphrase,
            "protocolVersion": PROTOCOL,
        }

    def _latest(self, view: RpcView) -> dict[str, Any]:
        latest = view.latest
        times = {"id": latest.hash, "protocolVersion": PROTOCOL, "closeTime": str(latest.closed_at)}
        return {**times, **ledger_xdr(self._chain, latest)}

    def _fees(self, params: Mapping[str, Any], view: RpcView, fault: Fault | None) -> dict[str, Any]:
        fee = str(self._chain.state.rules.base_fee)
        paid = {**dict.fromkeys(("max", "min", "mode", *_PERCENTILES), fee), "transactionCount": "1"}
        told = {**paid, "ledgerCount": 50}
        return {"sorobanInclusionFee": told, "inclusionFee": told, "latestLedger": view.latest.sequence}

    def _send(self, params: Mapping[str, Any], view: RpcView, fault: Fault | None) -> dict[str, Any]:
        try:
            envelope = self._chain.decode(_text(params, "transaction"))
        except Malformed as error:
            raise bad_params("invalid_xdr") from error
        status, refusal = offer_at_once(self._chain, envelope, fault)
        more = {} if refusal is None else {"errorResultXdr": refusal}
        latest = {
            "latestLedger": self._chain.latest.sequence,
            "latestLedgerCloseTime": str(self._chain.latest.closed_at),
        }
        return {"status": status, "hash": envelope.hash, **more, **latest}


def _version() -> dict[str, Any]:
    return {
        "version": "27.1.1-sandbox",
        "commitHash": "0" * 40,
        "buildTimestamp": "2026-01-01T00:00:00",
        "captiveCoreVersion": "offerhub-sandbox",
        "protocolVersion": PROTOCOL,
    }


def _text(params: Mapping[str, Any], name: str) -> str:
    found = params.get(name)
    if not isinstance(found, str):
        raise bad_params(f"{name} is required")
    return found


def _failed(identity: Any, problem: RpcProblem) -> Response:
    return JSONResponse(
        {"jsonrpc": "2.0", "id": identity, "error": {"code": problem.code, "message": problem.message}}
    )

"""`simulateTransaction`: run a contract call, undo it, and say what it needs (providers.md 6.6)."""

from typing import Any

from stellar_sdk import InvokeHostFunction, RestoreFootprint, scval, xdr

from offerhub.sandbox.calls import Call, Trap
from offerhub.sandbox.chain import Chain, Malformed
from offerhub.sandbox.contracts import Host, read_call, source_entry
from offerhub.sandbox.envelope import Envelope
from offerhub.sandbox.escrow import ContractError
from offerhub.sandbox.rpc_problem import bad_params
from offerhub.sandbox.soroban import RESTORE_FEE, resources


def simulate(chain: Chain, text: str) -> dict[str, Any]:
    """The answer: what a call returned and emitted, who must agree, and what it costs; or its `error`.

    A call of an archived contract is told to restore it (protocol 23): the data lists it and the fee is higher.
    Raises RpcProblem.
    """
    try:
        envelope = chain.decode(text)
    except Malformed as error:
        raise bad_params("Could not unmarshal transaction") from error
    latest = {"latestLedger": chain.latest.sequence}
    if len(envelope.operations) != 1 or not envelope.is_contract_call:
        return {"error": "Transaction contains an operation that is not supported", **latest}
    if type(envelope.transaction.memo).__name__ != "NoneMemo":
        return {"error": "Transaction contains a memo, which contract transactions must not have", **latest}
    operation = envelope.operations[0]
    if isinstance(operation, InvokeHostFunction):
        return {**_call(chain, operation, envelope), **latest}
    return {**_upkeep(envelope, restores=isinstance(operation, RestoreFootprint)), **latest}


def _call(chain: Chain, operation: InvokeHostFunction, envelope: Envelope) -> dict[str, Any]:
    mark = chain.state.savepoint()
    try:
        call = read_call(operation.host_function)
        needed = Host(chain.state, chain.cast).run(call)
    except (ContractError, Trap) as error:
        return {"error": str(error), "events": []}
    finally:
        chain.state.rollback(mark)
    body = operation.host_function.invoke_contract
    assert body is not None
    data = resources(body.contract_address, archived=call.contract in chain.state.archived)
    entries = [] if needed is None else [source_entry(call, needed).to_xdr()]
    return {
        "transactionData": data.to_xdr(),
        "minResourceFee": str(data.resource_fee.int64),
        "events": [_diagnostic(event) for event in (*_calls(call), *call.events)],
        "results": [{"auth": entries, "xdr": call.returned.to_xdr()}],
    }


def _upkeep(envelope: Envelope, *, restores: bool) -> dict[str, Any]:
    data = envelope.transaction.soroban_data
    if data is None:
        return {"error": "the footprint must be set"}
    fee = RESTORE_FEE if restores else data.resource_fee.int64
    priced = xdr.SorobanTransactionData(data.ext, data.resources, xdr.Int64(fee))
    return {"transactionData": priced.to_xdr(), "minResourceFee": str(fee), "events": []}


def _calls(call: Call) -> list[xdr.ContractEvent]:
    """What the host tells of the call itself."""
    body = xdr.ContractEventBody(
        v=0,
        v0=xdr.ContractEventV0(
            topics=[scval.to_symbol("fn_call"), scval.to_symbol(call.function)], data=scval.to_void()
        ),
    )
    return [xdr.ContractEvent(xdr.ExtensionPoint(0), None, xdr.ContractEventType.DIAGNOSTIC, body)]


def _diagnostic(event: xdr.ContractEvent) -> str:
    return xdr.DiagnosticEvent(in_successful_contract_call=True, event=event).to_xdr()

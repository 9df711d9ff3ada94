"""Calls of multi-release escrow contracts: the arguments of each function, what it does and what it emits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from stellar_sdk import scval, xdr

from offerhub.sandbox import encoding, multi_escrow
from offerhub.sandbox.calls import Authorisation, Call, Trap, event, exactly
from offerhub.sandbox.escrow import Tokens
from offerhub.sandbox.multi_encoding import MultiEscrow, multi_from_scval, multi_to_scval
from offerhub.sandbox.state import Movement, State


@dataclass(slots=True)
class Done:
    """What came of a call: whose consent it needs, what moved, what the contract emitted after that."""

    needed: Authorisation | None
    movements: Sequence[Movement] = ()
    events: list[xdr.ContractEvent] = field(default_factory=list)


def deploy(state: State, contract: str, terms: xdr.SCVal) -> str:
    """Make the contract; returns the token that it holds. Raises ContractError or EncodingError."""
    new = multi_from_scval(terms)
    multi_escrow.initialise(state, contract, new)
    return new.token


def run(call: Call, tokens: Tokens, stored: MultiEscrow) -> Done:
    """Carry a call of an escrow out. Raises ContractError when the contract refuses, Trap when the host does."""
    function = _FUNCTIONS.get(call.function)
    if function is None:
        raise Trap(f"HostError: Error(WasmVm, MissingValue): no function {call.function}")
    return function(call, tokens, stored)


def _fund(call: Call, tokens: Tokens, stored: MultiEscrow) -> Done:
    signer, expected, amount = exactly(call, 3)
    payer, units = encoding.address_from(signer), scval.from_int128(amount)
    moved = multi_escrow.fund(tokens, call.contract, payer, multi_from_scval(expected), units)
    transfer = encoding.invocation(stored.token, "transfer", [signer, scval.to_address(call.contract), amount])
    funded = event(call.contract, "tw_fund", scval.to_vec([signer, amount]))
    return Done(Authorisation(payer, (transfer,)), moved, [funded])


def _change_status(call: Call, tokens: Tokens, stored: MultiEscrow) -> Done:
    index, status, evidence, provider = exactly(call, 4)
    is_void = evidence.type == xdr.SCValType.SCV_VOID
    address = encoding.address_from(provider)
    changed = multi_escrow.change_status(
        tokens.state,
        call.contract,
        scval.from_int128(index),
        encoding.text_from(status),
        None if is_void else encoding.text_from(evidence),
        address,
    )
    return _changed(call, "tw_ms_change", changed, address)


def _approve(call: Call, tokens: Tokens, stored: MultiEscrow) -> Done:
    index, approver = exactly(call, 2)
    address = encoding.address_from(approver)
    changed = multi_escrow.approve(tokens.state, call.contract, scval.from_int128(index), address)
    return _changed(call, "tw_ms_approve", changed, address)


def _release(call: Call, tokens: Tokens, stored: MultiEscrow) -> Done:
    signer, index = exactly(call, 2)
    address = encoding.address_from(signer)
    moved = multi_escrow.release(tokens, call.contract, address, scval.from_uint32(index))
    return Done(Authorisation(address), moved, [event(call.contract, "tw_release", signer)])


def _dispute(call: Call, tokens: Tokens, stored: MultiEscrow) -> Done:
    index, signer = exactly(call, 2)
    address = encoding.address_from(signer)
    changed = multi_escrow.dispute(tokens.state, call.contract, scval.from_uint32(index), address)
    return _changed(call, "tw_dispute", changed, address)


def _resolve(call: Call, tokens: Tokens, stored: MultiEscrow) -> Done:
    resolver, index, distributions = exactly(call, 3)
    address, parts = encoding.address_from(resolver), encoding.distributions_from_scval(distributions)
    changed, moved = multi_escrow.resolve(tokens, call.contract, address, scval.from_uint32(index), parts)
    return _changed(call, "tw_disp_resolve", changed, address, moved)


def _withdraw(call: Call, tokens: Tokens, stored: MultiEscrow) -> Done:
    resolver, distributions = exactly(call, 2)
    address, parts = encoding.address_from(resolver), encoding.distributions_from_scval(distributions)
    changed, moved = multi_escrow.withdraw(tokens, call.contract, address, parts)
    return _changed(call, "tw_withdraw", changed, address, moved)


def _get(call: Call, tokens: Tokens, stored: MultiEscrow) -> Done:
    exactly(call, 0)
    call.returned = multi_to_scval(stored)
    return Done(None)


def _changed(call: Call, topic: str, changed: MultiEscrow, address: str, movements: Sequence[Movement] = ()) -> Done:
    call.returned = multi_to_scval(changed)
    return Done(Authorisation(address), movements, [event(call.contract, topic, call.returned)])


_FUNCTIONS: Final[Mapping[str, Callable[[Call, Tokens, MultiEscrow], Done]]] = {
    "fund_escrow": _fund,
    "change_milestone_status": _change_status,
    "approve_milestone": _approve,
    "release_milestone_funds": _release,
    "dispute_milestone": _dispute,
    "resolve_milestone_dispute": _resolve,
    "withdraw_remaining_funds": _withdraw,
    "get_escrow": _get,
}

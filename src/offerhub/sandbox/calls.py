"""What a contract call is: its arguments, whose consent it needs, and what it did and emitted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from stellar_sdk import Address, scval, xdr

from offerhub.sandbox.state import Movement, issuer_of

_VOID: Final = scval.to_void()


class Trap(Exception):
    """The host refuses the call itself: no such contract or function, wrong arguments, no authorisation."""


@dataclass(slots=True)
class Call:
    """One contract call and, once it has run, what came of it."""

    contract: str
    function: str
    arguments: Sequence[xdr.SCVal]
    movements: list[Movement] = field(default_factory=list)
    events: list[xdr.ContractEvent] = field(default_factory=list)
    returned: xdr.SCVal = _VOID


@dataclass(frozen=True, slots=True)
class Authorisation:
    """Whose consent the call needs: the address, and the calls made on its behalf within this one."""

    address: str
    sub_calls: tuple[xdr.InvokeContractArgs, ...] = ()


def exactly(call: Call, count: int) -> Sequence[xdr.SCVal]:
    """The call's arguments. Raises Trap unless there are that many."""
    if len(call.arguments) != count:
        raise Trap(f"HostError: Error(WasmVm, UnexpectedSize): {call.function} takes {count} arguments")
    return call.arguments


def event(contract: str, topic: str, data: xdr.SCVal) -> xdr.ContractEvent:
    """An event of an escrow contract."""
    return _contract_event(contract, [scval.to_symbol(topic)], data)


def token_event(token: str, movement: Movement, memo: xdr.SCVal | None) -> xdr.ContractEvent:
    """The token event of CAP-67: a mint names no source, a burn no target.

    `memo` is the id of an M… address or, without one, the transaction's memo; the amount is then in a map with it.
    """
    name = "native" if issuer_of(movement.asset) is None else movement.asset
    topics = [scval.to_symbol(movement.kind)]
    if movement.kind != "mint":
        topics.append(scval.to_address(movement.source))
    if movement.kind != "burn":
        topics.append(scval.to_address(movement.target))
    topics.append(scval.to_string(name))
    data = scval.to_int128(movement.amount)
    if memo is not None:
        data = scval.to_map({scval.to_symbol("amount"): data, scval.to_symbol("to_muxed_id"): memo})
    return _contract_event(token, topics, data)


def _contract_event(contract: str, topics: list[xdr.SCVal], data: xdr.SCVal) -> xdr.ContractEvent:
    identity = Address(contract).to_xdr_sc_address().contract_id
    body = xdr.ContractEventBody(v=0, v0=xdr.ContractEventV0(topics=topics, data=data))
    return xdr.ContractEvent(xdr.ExtensionPoint(0), identity, xdr.ContractEventType.CONTRACT, body)

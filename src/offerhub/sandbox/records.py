"""Operations as Horizon's JSON tells them, without links (providers.md 6.5)."""

from typing import Any, Final

from stellar_sdk import (
    AccountMerge,
    Address,
    Asset,
    BeginSponsoringFutureReserves,
    BumpSequence,
    ChangeTrust,
    ClaimClaimableBalance,
    CreateAccount,
    CreateClaimableBalance,
    EndSponsoringFutureReserves,
    InvokeHostFunction,
    ManageData,
    MuxedAccount,
    PathPaymentStrictReceive,
    PathPaymentStrictSend,
    Payment,
    SetOptions,
    scval,
)
from stellar_sdk.operation import Operation

from offerhub.kernel.money import format_chain_amount
from offerhub.sandbox.calls import Call
from offerhub.sandbox.state import Movement

PAYMENT_TYPES: Final = frozenset(
    {"create_account", "payment", "path_payment_strict_send", "path_payment_strict_receive", "account_merge"}
)
_CREDIT_ALPHANUM4_MAX: Final = 4


def asset_fields(asset: Asset | str, prefix: str = "") -> dict[str, str]:
    """`asset_type` and, for an issued asset, its code and issuer. A text is `native` or `CODE:ISSUER`."""
    if isinstance(asset, str):
        code, _, issuer = asset.partition(":")
        asset = Asset(code, issuer) if issuer else Asset.native()
    if asset.is_native():
        return {f"{prefix}asset_type": "native"}
    kind = "credit_alphanum4" if len(asset.code) <= _CREDIT_ALPHANUM4_MAX else "credit_alphanum12"
    return {
        f"{prefix}asset_type": kind,
        f"{prefix}asset_code": asset.code,
        f"{prefix}asset_issuer": str(asset.issuer),
    }


def describe(operation: Operation, source: str, call: Call | None) -> tuple[dict[str, Any], set[str]]:
    """The fields of an operation's record and the accounts that take part in it.

    `call` is what a contract call did; None when it failed.
    """
    match operation:
        case CreateAccount():
            amount = _amount(operation.starting_balance)
            fields: dict[str, Any] = _typed("create_account", 0)
            fields |= {"starting_balance": amount, "funder": source, "account": operation.destination}
            return fields, {source, operation.destination}
        case Payment():
            fields = _typed("payment", 1) | asset_fields(operation.asset) | {"from": source}
            fields |= _muxed("to", operation.destination) | {"amount": _amount(operation.amount)}
            return fields, {source, operation.destination.account_id}
        case PathPaymentStrictReceive() | PathPaymentStrictSend():
            return _describe_path(operation, source), {source, operation.destination.account_id}
        case ChangeTrust() if isinstance(operation.asset, Asset):
            fields = _typed("change_trust", 6) | asset_fields(operation.asset)
            fields |= {"limit": _amount(operation.limit), "trustor": source}
            if operation.asset.issuer is not None:
                fields["trustee"] = operation.asset.issuer
            return fields, {source}
        case InvokeHostFunction():
            return _describe_call(operation, source, call)
    return _describe_rare(operation, source)


def _describe_rare(operation: Operation, source: str) -> tuple[dict[str, Any], set[str]]:
    match operation:
        case AccountMerge():
            fields: dict[str, Any] = _typed("account_merge", 8)
            fields |= {"account": source} | _muxed("into", operation.destination)
            return fields, {source, operation.destination.account_id}
        case CreateClaimableBalance():
            asset, claimants = operation.asset, [claimant.destination for claimant in operation.claimants]
            fields = _typed("create_claimable_balance", 14) | {"amount": _amount(operation.amount)}
            fields["asset"] = "native" if asset.is_native() else f"{asset.code}:{asset.issuer}"
            fields["claimants"] = [{"destination": one, "predicate": {"unconditional": True}} for one in claimants]
            return fields, {source, *claimants}
        case ClaimClaimableBalance():
            fields = _typed("claim_claimable_balance", 15) | {"balance_id": operation.balance_id, "claimant": source}
            return fields, {source}
    sponsored = {operation.sponsored_id} if isinstance(operation, BeginSponsoringFutureReserves) else set()
    return _describe_setting(operation), {source} | sponsored


def _describe_setting(operation: Operation) -> dict[str, Any]:
    match operation:
        case SetOptions():
            return _typed("set_options", 5)
        case ManageData():
            value = operation.data_value
            return _typed("manage_data", 10) | {
                "name": operation.data_name,
                "value": "" if value is None else value.decode("latin-1"),
            }
        case BumpSequence():
            return _typed("bump_sequence", 11) | {"bump_to": str(operation.bump_to)}
        case BeginSponsoringFutureReserves():
            return _typed("begin_sponsoring_future_reserves", 16) | {"sponsored_id": operation.sponsored_id}
        case EndSponsoringFutureReserves():
            return _typed("end_sponsoring_future_reserves", 17)
    return _typed("change_trust", 6)


def _describe_path(operation: PathPaymentStrictReceive | PathPaymentStrictSend, source: str) -> dict[str, Any]:
    if isinstance(operation, PathPaymentStrictSend):
        fields: dict[str, Any] = _typed("path_payment_strict_send", 13)
        sent = received = _amount(operation.send_amount)
        fields["destination_min"] = _amount(operation.dest_min)
    else:
        fields = _typed("path_payment_strict_receive", 2)
        sent = received = _amount(operation.dest_amount)
        fields["source_max"] = _amount(operation.send_max)
    fields |= asset_fields(operation.dest_asset) | asset_fields(operation.send_asset, "source_")
    fields |= {"from": source, "amount": received, "source_amount": sent, "path": []}
    return fields | _muxed("to", operation.destination)


def _describe_call(operation: InvokeHostFunction, source: str, call: Call | None) -> tuple[dict[str, Any], set[str]]:
    fields: dict[str, Any] = _typed("invoke_host_function", 24)
    target = operation.host_function.invoke_contract
    parameters: list[dict[str, str]] = []
    if target is not None:
        address = scval.to_address(Address.from_xdr_sc_address(target.contract_address))
        function = scval.to_symbol(target.function_name.sc_symbol.decode())
        parameters = [
            {"value": value.to_xdr(), "type": value.type.name.removeprefix("SCV_").title()}
            for value in (address, function, *target.args)
        ]
    fields |= {
        "function": "HostFunctionTypeHostFunctionTypeInvokeContract",
        "parameters": parameters,
        "address": "",
        "salt": "",
    }
    movements = call.movements if call else []
    fields["asset_balance_changes"] = [_balance_change(movement) for movement in movements]
    participants = {source}
    for movement in movements:
        participants |= {end for end in (movement.source, movement.target) if end.startswith("G")}
    return fields, participants


def _balance_change(movement: Movement) -> dict[str, str]:
    change = asset_fields(movement.asset) | {"type": movement.kind}
    if movement.kind != "mint":
        change["from"] = movement.source
    if movement.kind != "burn":
        change["to"] = movement.target
    return change | {"amount": format_chain_amount(movement.amount)}


def _typed(name: str, number: int) -> dict[str, Any]:
    return {"type": name, "type_i": number}


def _amount(text: str) -> str:
    return format_chain_amount(Operation.to_xdr_amount(text))


def _muxed(name: str, account: MuxedAccount) -> dict[str, str]:
    """An address and, when it is an M… address, its two extra fields."""
    fields = {name: account.account_id}
    if account.account_muxed is not None:
        fields[f"{name}_muxed"] = account.account_muxed
        fields[f"{name}_muxed_id"] = str(account.account_muxed_id)
    return fields

"""The many shapes in which money can arrive on an account: each by a real transaction (providers.md 8.6, F17)."""

from collections.abc import Sequence
from typing import Final, Literal, get_args

from stellar_sdk import (
    Asset,
    Claimant,
    CreateClaimableBalance,
    InvokeHostFunction,
    MuxedAccount,
    PathPaymentStrictSend,
    Payment,
    scval,
    xdr,
)
from stellar_sdk.operation import Operation

from offerhub.kernel.money import format_chain_amount
from offerhub.sandbox import encoding
from offerhub.sandbox.calls import Authorisation, Call
from offerhub.sandbox.contracts import source_entry
from offerhub.sandbox.options import Cast
from offerhub.sandbox.soroban import resources

Shape = Literal["payment", "path", "claimable", "muxed", "call", "native", "impostor"]
SHAPES: Final = get_args(Shape)


def operations_of(cast: Cast, shape: Shape, targets: Sequence[str], units: int, muxed_id: int) -> list[Operation]:
    """The operations that pay the amount to each target. Those of `call` are one, with a credit for each target.

    `native` pays XLM, `impostor` somebody else's USDC, which fails where there is no trustline for it.
    """
    if shape == "call":
        return [_batch(cast, targets, units)]
    return [_single(cast, shape, target, units, muxed_id) for target in targets]


def _single(cast: Cast, shape: Shape, target: str, units: int, muxed_id: int) -> Operation:
    issuer, amount = cast.issuer.public_key, format_chain_amount(units)
    match shape:
        case "path":
            return PathPaymentStrictSend(target, cast.usdc, amount, cast.usdc, amount, [], source=issuer)
        case "claimable":
            return CreateClaimableBalance(cast.usdc, amount, [Claimant(target)], source=issuer)
        case "muxed":
            return Payment(MuxedAccount(target, muxed_id), cast.usdc, amount, source=issuer)
        case "native":
            return Payment(target, Asset.native(), amount, source=cast.friendbot.public_key)
        case "impostor":
            stranger = cast.trustless_fee.public_key
            return Payment(target, Asset(cast.usdc.code, stranger), amount, source=stranger)
    return Payment(target, cast.usdc, amount, source=issuer)


def transfer(cast: Cast, source: str, target: str, units: int) -> Operation:
    """A call of the USDC contract: how anybody pays into a contract (C…)."""
    ends = [scval.to_address(source), scval.to_address(target)]
    return _invoke(Call(cast.usdc_contract, "transfer", [*ends, scval.to_int128(units)]), source, ())


def _batch(cast: Cast, targets: Sequence[str], units: int) -> Operation:
    """One call of the sandbox's payer contract, which makes a transfer to each target."""
    payer = scval.to_address(cast.issuer.public_key)
    amount = scval.to_int128(units)
    arguments = [payer, scval.to_vec([scval.to_address(target) for target in targets]), amount]
    subs = tuple(
        encoding.invocation(cast.usdc_contract, "transfer", [payer, scval.to_address(target), amount])
        for target in targets
    )
    return _invoke(Call(cast.payer_contract, "pay_many", arguments), cast.issuer.public_key, subs)


def _invoke(call: Call, source: str, sub_calls: tuple[xdr.InvokeContractArgs, ...]) -> InvokeHostFunction:
    target = encoding.invocation(call.contract, call.function, call.arguments)
    function = xdr.HostFunction(xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT, invoke_contract=target)
    entry = source_entry(call, Authorisation(source, sub_calls))
    return InvokeHostFunction(function, [entry], source=source)


def soroban_data(operations: Sequence[Operation]) -> xdr.SorobanTransactionData | None:
    """What a transaction declares when its operation is a contract call."""
    for operation in operations:
        if isinstance(operation, InvokeHostFunction) and operation.host_function.invoke_contract is not None:
            return resources(operation.host_function.invoke_contract.contract_address)
    return None

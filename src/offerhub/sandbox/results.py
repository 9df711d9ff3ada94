"""Result and meta XDR as the network writes them, and Horizon's names for the codes (providers.md 6.4)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from stellar_sdk import scval, xdr

from offerhub.sandbox.calls import Call

OP_INNER: Final = xdr.OperationResultCode.opINNER

_NAMES: Final = {
    "CREATE_ACCOUNT_ALREADY_EXIST": "op_already_exists",
    "INVOKE_HOST_FUNCTION_TRAPPED": "function_trapped",
    "INVOKE_HOST_FUNCTION_MALFORMED": "function_malformed",
    "opNO_ACCOUNT": "op_no_source_account",
    "INVOKE_HOST_FUNCTION_ENTRY_ARCHIVED": "entry_archived",
    "txNO_ACCOUNT": "tx_no_source_account",
}

_ARMS: Final[dict[xdr.OperationType, tuple[str, type[Any]]]] = {
    xdr.OperationType.CREATE_ACCOUNT: ("create_account_result", xdr.CreateAccountResult),
    xdr.OperationType.PAYMENT: ("payment_result", xdr.PaymentResult),
    xdr.OperationType.PATH_PAYMENT_STRICT_RECEIVE: (
        "path_payment_strict_receive_result",
        xdr.PathPaymentStrictReceiveResult,
    ),
    xdr.OperationType.PATH_PAYMENT_STRICT_SEND: (
        "path_payment_strict_send_result",
        xdr.PathPaymentStrictSendResult,
    ),
    xdr.OperationType.CHANGE_TRUST: ("change_trust_result", xdr.ChangeTrustResult),
    xdr.OperationType.SET_OPTIONS: ("set_options_result", xdr.SetOptionsResult),
    xdr.OperationType.MANAGE_DATA: ("manage_data_result", xdr.ManageDataResult),
    xdr.OperationType.BUMP_SEQUENCE: ("bump_seq_result", xdr.BumpSequenceResult),
    xdr.OperationType.ACCOUNT_MERGE: ("account_merge_result", xdr.AccountMergeResult),
    xdr.OperationType.CREATE_CLAIMABLE_BALANCE: (
        "create_claimable_balance_result",
        xdr.CreateClaimableBalanceResult,
    ),
    xdr.OperationType.CLAIM_CLAIMABLE_BALANCE: (
        "claim_claimable_balance_result",
        xdr.ClaimClaimableBalanceResult,
    ),
    xdr.OperationType.BEGIN_SPONSORING_FUTURE_RESERVES: (
        "begin_sponsoring_future_reserves_result",
        xdr.BeginSponsoringFutureReservesResult,
    ),
    xdr.OperationType.END_SPONSORING_FUTURE_RESERVES: (
        "end_sponsoring_future_reserves_result",
        xdr.EndSponsoringFutureReservesResult,
    ),
    xdr.OperationType.INVOKE_HOST_FUNCTION: ("invoke_host_function_result", xdr.InvokeHostFunctionResult),
    xdr.OperationType.RESTORE_FOOTPRINT: ("restore_footprint_result", xdr.RestoreFootprintResult),
    xdr.OperationType.EXTEND_FOOTPRINT_TTL: ("extend_footprint_ttl_result", xdr.ExtendFootprintTTLResult),
}
SUPPORTED: Final = frozenset(_ARMS)
_WITH_BODY: Final = frozenset(
    {
        xdr.OperationType.PATH_PAYMENT_STRICT_RECEIVE,
        xdr.OperationType.PATH_PAYMENT_STRICT_SEND,
        xdr.OperationType.INVOKE_HOST_FUNCTION,
        xdr.OperationType.ACCOUNT_MERGE,
        xdr.OperationType.CREATE_CLAIMABLE_BALANCE,
    }
)


@dataclass(frozen=True, slots=True)
class OperationOutcome:
    """One operation's result, and its code as Horizon spells it."""

    result: xdr.OperationResult
    code: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A transaction's result before its fee is known. No operations unless the code says success or failed."""

    code: xdr.TransactionResultCode
    operations: tuple[OperationOutcome, ...] = ()

    @property
    def success(self) -> bool:
        """True when every operation was applied."""
        return self.code == xdr.TransactionResultCode.txSUCCESS


def transaction_code_name(code: xdr.TransactionResultCode) -> str:
    """Such as `tx_bad_seq`."""
    return _NAMES.get(code.name) or "tx_" + code.name.removeprefix("tx").lower()


def operation_outcome(kind: xdr.OperationType, code: IntEnum, **success: Any) -> OperationOutcome:
    """The result of an operation that was looked at; `success` fills the arms that some results need."""
    field, arm = _ARMS[kind]
    result = xdr.OperationResultTr(kind, **{field: arm(code, **success)})
    name = _NAMES.get(code.name) or "op_" + code.name.removeprefix(kind.name + "_").lower()
    if code.value == 0:
        name = "op_success"
    return OperationOutcome(xdr.OperationResult(OP_INNER, tr=result), name)


def outer_outcome(code: xdr.OperationResultCode) -> OperationOutcome:
    """The result of an operation that was refused before it was looked at, such as opBAD_AUTH."""
    name = _NAMES.get(code.name) or "op_" + code.name.removeprefix("op").lower()
    return OperationOutcome(xdr.OperationResult(code), name)


def success_placeholder(kind: xdr.OperationType) -> OperationOutcome:
    """What an acceptable operation shows when another one refuses the whole transaction at the door."""
    field, arm = _ARMS[kind]
    code = _success_code(arm)
    if kind in _WITH_BODY:
        # Their success carries a body that only applying makes; the code alone is what readers look at.
        return OperationOutcome(outer_outcome(xdr.OperationResultCode.opNOT_SUPPORTED).result, "op_success")
    return OperationOutcome(
        xdr.OperationResult(OP_INNER, tr=xdr.OperationResultTr(kind, **{field: arm(code)})), "op_success"
    )


def _success_code(arm: type[Any]) -> IntEnum:
    codes: type[IntEnum] = getattr(xdr, f"{arm.__name__}Code")
    return codes(0)


def result_xdr(outcome: Outcome, fee_charged: int, inner_hash: str | None) -> str:
    """The TransactionResult in base64; `inner_hash` makes it that of a fee bump."""
    operations = [operation.result for operation in outcome.operations]
    code = outcome.code
    has_results = code in {xdr.TransactionResultCode.txSUCCESS, xdr.TransactionResultCode.txFAILED}
    results = operations if has_results else None
    if inner_hash is None:
        body = xdr.TransactionResultResult(code, results=results)
    else:
        inner = xdr.InnerTransactionResult(
            xdr.Int64(0), xdr.InnerTransactionResultResult(code, results), xdr.InnerTransactionResultExt(0)
        )
        pair = xdr.InnerTransactionResultPair(xdr.Hash(bytes.fromhex(inner_hash)), inner)
        bumped = (
            xdr.TransactionResultCode.txFEE_BUMP_INNER_SUCCESS
            if outcome.success
            else xdr.TransactionResultCode.txFEE_BUMP_INNER_FAILED
        )
        body = xdr.TransactionResultResult(bumped, inner_result_pair=pair)
    return xdr.TransactionResult(xdr.Int64(fee_charged), body, xdr.TransactionResultExt(0)).to_xdr()


def result_codes(outcome: Outcome, inner_hash: str | None) -> dict[str, Any]:
    """Horizon's `extras.result_codes`."""
    name = transaction_code_name(outcome.code)
    codes: dict[str, Any] = {"transaction": name}
    if inner_hash is not None:
        bumped = "tx_fee_bump_inner_success" if outcome.success else "tx_fee_bump_inner_failed"
        codes = {"transaction": bumped, "inner_transaction": name}
    if outcome.operations:
        codes["operations"] = [operation.code for operation in outcome.operations]
    return codes


def invoke_success(call: Call) -> xdr.Hash:
    """The hash that a successful contract call leaves in its result."""
    preimage = xdr.InvokeHostFunctionSuccessPreImage(return_value=call.returned, events=call.events)
    return xdr.Hash(hashlib.sha256(preimage.to_xdr_bytes()).digest())


def meta_xdr(events: Sequence[list[xdr.ContractEvent]], call: Call | None, complaint: tuple[int, str] | None) -> str:
    """TransactionMeta v4: what each operation emitted, what a call returned, its error as a diagnostic event.

    Entry changes are left out; nobody here reads them.
    """
    empty = xdr.LedgerEntryChanges([])
    metas = [xdr.OperationMetaV2(xdr.ExtensionPoint(0), empty, emitted) for emitted in events]
    soroban = xdr.SorobanTransactionMetaV2(xdr.SorobanTransactionMetaExt(0), call.returned) if call else None
    body = xdr.TransactionMetaV4(
        xdr.ExtensionPoint(0),
        empty,
        metas,
        empty,
        soroban,
        [],
        [_diagnostic(*complaint)] if complaint else [],
    )
    return xdr.TransactionMeta(4, v4=body).to_xdr()


def _diagnostic(number: int, text: str) -> xdr.DiagnosticEvent:
    error = xdr.SCVal(
        xdr.SCValType.SCV_ERROR,
        error=xdr.SCError(xdr.SCErrorType.SCE_CONTRACT, contract_code=xdr.Uint32(number)),
    )
    body = xdr.ContractEventBody(
        v=0, v0=xdr.ContractEventV0(topics=[scval.to_symbol("error"), error], data=scval.to_string(text))
    )
    event = xdr.ContractEvent(xdr.ExtensionPoint(0), None, xdr.ContractEventType.DIAGNOSTIC, body)
    return xdr.DiagnosticEvent(in_successful_contract_call=False, event=event)


CODES_BY_NAME: Final = {transaction_code_name(code): code for code in xdr.TransactionResultCode}
"""Transaction result codes by the names that Horizon gives them."""

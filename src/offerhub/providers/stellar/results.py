"""What became of a transaction, out of its result XDR. Loads stellar-sdk: import it where it is used.

The names are Horizon's (`tx_bad_seq`, `op_underfunded`, `function_trapped`), so that a code read here
compares equal to one that a submission answered (providers.md 6.4).
"""

from enum import IntEnum
from typing import Final

from stellar_sdk import Address, xdr

_TRANSACTION_NAMES: Final = {"txNO_ACCOUNT": "tx_no_source_account"}
_OPERATION_NAMES: Final = {"opNO_ACCOUNT": "op_no_source_account"}
_INNER_NAMES: Final = {
    "CREATE_ACCOUNT_ALREADY_EXIST": "op_already_exists",
    "INVOKE_HOST_FUNCTION_TRAPPED": "function_trapped",
    "INVOKE_HOST_FUNCTION_RESOURCE_LIMIT_EXCEEDED": "resource_limit_exceeded",
    "INVOKE_HOST_FUNCTION_ENTRY_ARCHIVED": "entry_archived",
    "INVOKE_HOST_FUNCTION_INSUFFICIENT_REFUNDABLE_FEE": "insufficient_refundable_fee",
}


def decode_result(result_xdr: str) -> tuple[str, tuple[str, ...]]:
    """The transaction's code and those of its operations; of a fee bump, the inner transaction's.

    Raises ValueError when this is not a result.
    """
    try:
        result = xdr.TransactionResult.from_xdr(result_xdr).result
    except Exception as error:  # the SDK lets whatever its parser meets escape
        raise ValueError("not a transaction result") from error
    if result.inner_result_pair is not None:
        inner = result.inner_result_pair.result.result
        return _transaction_code(inner.code), tuple(map(_operation_code, inner.results or ()))
    return _transaction_code(result.code), tuple(map(_operation_code, result.results or ()))


def returned_contract(meta_xdr: str) -> str | None:
    """The contract address that the contract call of a transaction returned, if it returned one.

    A deployer returns the new contract's address, alone or as the first of a tuple with the initial answer.
    """
    try:
        meta = xdr.TransactionMeta.from_xdr(meta_xdr)
    except Exception as error:  # the SDK lets whatever its parser meets escape
        raise ValueError("not transaction meta") from error
    if meta.v3 is not None and meta.v3.soroban_meta is not None:
        return _contract(meta.v3.soroban_meta.return_value)
    if meta.v4 is not None and meta.v4.soroban_meta is not None:
        return _contract(meta.v4.soroban_meta.return_value)
    return None


def _contract(value: xdr.SCVal | None) -> str | None:
    if value is not None and value.vec is not None and value.vec.sc_vec:
        value = value.vec.sc_vec[0]
    if value is None or value.address is None:
        return None
    address = Address.from_xdr_sc_address(value.address).address
    return address if address.startswith("C") else None


def _transaction_code(code: xdr.TransactionResultCode) -> str:
    return _TRANSACTION_NAMES.get(code.name) or "tx_" + code.name.removeprefix("tx").lower()


def _operation_code(result: xdr.OperationResult) -> str:
    if result.tr is None:
        return _OPERATION_NAMES.get(result.code.name) or "op_" + result.code.name.removeprefix("op").lower()
    inner = _inner_code(result.tr)
    if inner is None:
        return "op_unknown"
    kind = result.tr.type.name
    if inner.name in _INNER_NAMES:
        return _INNER_NAMES[inner.name]
    return "op_" + inner.name.removeprefix(kind + "_").lower()


def _inner_code(result: xdr.OperationResultTr) -> IntEnum | None:
    """The code of the one arm of the union that is set."""
    for name, arm in vars(result).items():
        if name != "type" and arm is not None:
            code: IntEnum = arm.code
            return code
    return None

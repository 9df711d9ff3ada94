"""An envelope, taken apart into plain values for inspection. Loads stellar-sdk: import it where it is used.

Nothing is judged here; what a transaction may contain is decided by whoever asked for it. But an envelope
that has more than one reading is refused: unknown parts, trailing bytes, two equal keys in a map.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from stellar_sdk import Address, MuxedAccount, scval, xdr

from offerhub.providers.stellar.network import network_id

ENVELOPE_CHARACTERS_MAX: Final = 200_000
_DEPTH_MAX: Final = 12


class UnreadableEnvelopeError(ValueError):
    """This is not a transaction envelope, or not one that can be read in exactly one way."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call that an authorization allows, with the calls below it.

    `contract` is None when a contract would be created; then `function` is `create_contract` and `args` are
    the deployer's address and the hex hash of the code, each None for the contract of an asset.
    """

    contract: str | None
    function: str
    args: tuple[Any, ...]
    below: tuple["Invocation", ...]


@dataclass(frozen=True, slots=True)
class Authorization:
    """An authorization in an operation. `address` is None when the transaction's source gives it."""

    address: str | None
    root: Invocation


@dataclass(frozen=True, slots=True)
class DecodedOperation:
    """One operation. The contract fields are None for anything but the call of a contract."""

    type: str
    source: str | None
    contract: str | None
    function: str | None
    args: tuple[Any, ...]
    authorizations: tuple[Authorization, ...]


@dataclass(frozen=True, slots=True)
class DecodedTransaction:
    """A plain (not fee-bumped) transaction. Times are Unix seconds; `max_time` 0 means that it never expires.

    `preconditions` is `none`, `time` or `v2`, as the XDR has it. `fee` is the whole bid in stroops.
    """

    hash: str
    source: str
    sequence: int
    fee: int
    min_time: int
    max_time: int
    preconditions: str
    has_memo: bool
    operations: tuple[DecodedOperation, ...]
    signatures: int


def decode(envelope_xdr: str, passphrase: str) -> DecodedTransaction:
    """Take a base64 envelope apart; the hash is that of the network with this passphrase.

    Raises UnreadableEnvelopeError.
    """
    envelope = _parse(envelope_xdr)
    if envelope.v1 is None:
        raise UnreadableEnvelopeError(f"an envelope of type {envelope.type.name}")
    transaction = envelope.v1.tx
    bounds = transaction.cond.time_bounds
    if transaction.cond.v2 is not None:
        bounds = transaction.cond.v2.time_bounds
    try:
        operations = tuple(_operation(operation) for operation in transaction.operations)
        source = MuxedAccount.from_xdr_object(transaction.source_account).universal_account_id
    except (ValueError, TypeError, AttributeError) as error:
        raise UnreadableEnvelopeError(str(error)) from error
    return DecodedTransaction(
        hash=_hash(transaction, passphrase),
        source=source,
        sequence=transaction.seq_num.sequence_number.int64,
        fee=transaction.fee.uint32,
        min_time=bounds.min_time.time_point.uint64 if bounds is not None else 0,
        max_time=bounds.max_time.time_point.uint64 if bounds is not None else 0,
        preconditions=transaction.cond.type.name.removeprefix("PRECOND_").lower(),
        has_memo=transaction.memo.type != xdr.MemoType.MEMO_NONE,
        operations=operations,
        signatures=len(envelope.v1.signatures),
    )


def _parse(envelope_xdr: str) -> xdr.TransactionEnvelope:
    if len(envelope_xdr) > ENVELOPE_CHARACTERS_MAX:
        raise UnreadableEnvelopeError("the envelope is too long")
    try:
        envelope = xdr.TransactionEnvelope.from_xdr(envelope_xdr)
        written = envelope.to_xdr()
    except Exception as error:  # the SDK lets whatever its parser meets escape
        raise UnreadableEnvelopeError(f"{type(error).__name__}: {error}"[:200]) from error
    if written != envelope_xdr:
        raise UnreadableEnvelopeError("the envelope is not in its one canonical form")
    return envelope


def _hash(transaction: xdr.Transaction, passphrase: str) -> str:
    """sha256(network id, ENVELOPE_TYPE_TX, transaction without signatures), providers.md 6.8."""
    payload = xdr.TransactionSignaturePayload(
        xdr.Hash(network_id(passphrase)),
        xdr.TransactionSignaturePayloadTaggedTransaction(xdr.EnvelopeType.ENVELOPE_TYPE_TX, transaction),
    )
    return hashlib.sha256(payload.to_xdr_bytes()).hexdigest()


def _operation(operation: xdr.Operation) -> DecodedOperation:
    source = None
    if operation.source_account is not None:
        source = MuxedAccount.from_xdr_object(operation.source_account).universal_account_id
    kind = operation.body.type.name.lower()
    call = operation.body.invoke_host_function_op
    if call is None:
        return DecodedOperation(kind, source, None, None, (), ())
    authorizations = tuple(_authorization(entry) for entry in call.auth)
    invoked = call.host_function.invoke_contract
    if invoked is None:
        kind = call.host_function.type.name.lower()
        return DecodedOperation(kind, source, None, None, (), authorizations)
    contract, function, args = _call(invoked)
    return DecodedOperation(kind, source, contract, function, args, authorizations)


def _call(invoked: xdr.InvokeContractArgs) -> tuple[str, str, tuple[Any, ...]]:
    contract = Address.from_xdr_sc_address(invoked.contract_address).address
    function = invoked.function_name.sc_symbol.decode("ascii")
    return contract, function, tuple(plain(value) for value in invoked.args)


def _authorization(entry: xdr.SorobanAuthorizationEntry) -> Authorization:
    root = _invocation(entry.root_invocation, _DEPTH_MAX)
    if entry.credentials.type == xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT:
        return Authorization(None, root)
    if entry.credentials.address is None:
        return Authorization(entry.credentials.type.name.lower(), root)
    return Authorization(Address.from_xdr_sc_address(entry.credentials.address.address).address, root)


def _invocation(invocation: xdr.SorobanAuthorizedInvocation, depth: int) -> Invocation:
    if depth == 0:
        raise ValueError("authorizations are nested too deep")
    below = tuple(_invocation(inner, depth - 1) for inner in invocation.sub_invocations)
    function = invocation.function
    if function.contract_fn is not None:
        contract, name, args = _call(function.contract_fn)
        return Invocation(contract, name, args, below)
    created = function.create_contract_v2_host_fn or function.create_contract_host_fn
    if created is None:
        raise ValueError(f"an authorization of type {function.type.name}")
    return Invocation(None, "create_contract", _created(created), below)


def _created(created: xdr.CreateContractArgs | xdr.CreateContractArgsV2) -> tuple[str | None, str | None]:
    by_address = created.contract_id_preimage.from_address
    deployer = None if by_address is None else Address.from_xdr_sc_address(by_address.address).address
    code = created.executable.wasm_hash
    return deployer, None if code is None else code.hash.hex()


def plain(value: xdr.SCVal, depth: int = _DEPTH_MAX) -> Any:
    """A contract value as Python: int, bool, None, str (text, symbol or address), bytes, list, dict.

    Raises ValueError for kinds that no escrow uses, and for a map with two equal keys.
    """
    if depth == 0:
        raise ValueError("values are nested too deep")
    if value.vec is not None:
        return [plain(item, depth - 1) for item in value.vec.sc_vec]
    if value.map is not None:
        entries = [(plain(item.key, 1), plain(item.val, depth - 1)) for item in value.map.sc_map]
        found = dict(entries)
        if len(found) != len(entries):
            raise ValueError("a map with two equal keys")
        return found
    return _scalar(value)


def _scalar(value: xdr.SCVal) -> Any:
    kind = value.type
    if kind == xdr.SCValType.SCV_VOID:
        return None
    if value.address is not None:
        return Address.from_xdr_sc_address(value.address).address
    if value.sym is not None:
        return value.sym.sc_symbol.decode("ascii")
    if value.str is not None:
        return value.str.sc_string.decode("utf-8")
    if value.bytes is not None:
        return value.bytes.sc_bytes
    reader = _NUMBERS.get(kind)
    if reader is None:
        raise ValueError(f"a value of kind {kind.name}")
    return reader(value)


_NUMBERS: Final = {
    xdr.SCValType.SCV_BOOL: scval.from_bool,
    xdr.SCValType.SCV_U32: scval.from_uint32,
    xdr.SCValType.SCV_I32: scval.from_int32,
    xdr.SCValType.SCV_U64: scval.from_uint64,
    xdr.SCValType.SCV_I64: scval.from_int64,
    xdr.SCValType.SCV_U128: scval.from_uint128,
    xdr.SCValType.SCV_I128: scval.from_int128,
}

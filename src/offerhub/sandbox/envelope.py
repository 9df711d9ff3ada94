"""Envelopes as they arrive: decoded, hashed, and checked as the network checks them before applying.

The order of the checks and their codes are the network's (providers.md 6.4, 8.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stellar_sdk import (
    DecoratedSignature,
    ExtendFootprintTTL,
    FeeBumpTransactionEnvelope,
    InvokeHostFunction,
    Keypair,
    Preconditions,
    RestoreFootprint,
    SetOptions,
    Transaction,
    TransactionEnvelope,
)
from stellar_sdk.exceptions import BadSignatureError
from stellar_sdk.operation import Operation
from stellar_sdk.xdr import EnvelopeType, OperationResultCode, OperationType
from stellar_sdk.xdr import TransactionEnvelope as XdrEnvelope
from stellar_sdk.xdr import TransactionResultCode as Code

from offerhub.sandbox.results import SUPPORTED, OperationOutcome, Outcome, outer_outcome, success_placeholder
from offerhub.sandbox.state import Account, State

OPERATIONS_MAX: Final = 100
_SOROBAN: Final = (InvokeHostFunction, RestoreFootprint, ExtendFootprintTTL)
ENVELOPE_CHARACTERS_MAX: Final = 200_000


class Malformed(ValueError):
    """The text is not an envelope of base64 XDR that the network would read."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A decoded envelope. `hash` is the outer one; `inner_hash` and `outer_signatures` belong to fee bumps."""

    xdr: str
    hash: str
    transaction: Transaction
    digest: bytes
    signatures: Sequence[DecoratedSignature]
    fee_source: str
    max_fee: int
    inner_hash: str | None = None
    outer_digest: bytes = b""
    outer_signatures: Sequence[DecoratedSignature] = ()

    @property
    def source(self) -> str:
        """The account whose sequence number is used."""
        return self.transaction.source.account_id

    @property
    def operations(self) -> Sequence[Operation]:
        """The operations, in order."""
        return self.transaction.operations

    @property
    def is_contract_call(self) -> bool:
        """True for a smart-contract transaction: a call, or the upkeep of what contracts store."""
        return any(isinstance(op, _SOROBAN) for op in self.operations)

    def fee_at(self, base_fee: int) -> int:
        """What inclusion costs: the base fee per operation, and a contract call's whole resource fee."""
        operations = len(self.operations) + (1 if self.inner_hash else 0)
        data = self.transaction.soroban_data
        return base_fee * operations + (data.resource_fee.int64 if data else 0)

    def source_of(self, operation: Operation) -> str:
        """The account that an operation acts for."""
        return (operation.source or self.transaction.source).account_id


def decode(text: str, passphrase: str) -> Envelope:
    """Read a base64 envelope. Raises Malformed."""
    if len(text) > ENVELOPE_CHARACTERS_MAX:
        raise Malformed("too long")
    try:
        raw = XdrEnvelope.from_xdr(text)
        is_bump = raw.type == EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP
        kind = FeeBumpTransactionEnvelope if is_bump else TransactionEnvelope
        parsed = kind.from_xdr_object(raw, passphrase)
    except Exception as error:  # the SDK lets whatever its parser meets escape
        raise Malformed(f"{type(error).__name__}: {error}"[:200]) from error
    if isinstance(parsed, FeeBumpTransactionEnvelope):
        outer = parsed.transaction
        inner = outer.inner_transaction_envelope
        return Envelope(
            text,
            parsed.hash_hex(),
            inner.transaction,
            inner.hash(),
            inner.signatures,
            outer.fee_source.account_id,
            outer.fee,
            inner.hash_hex(),
            parsed.hash(),
            parsed.signatures,
        )
    transaction = parsed.transaction
    return Envelope(
        text,
        parsed.hash_hex(),
        transaction,
        parsed.hash(),
        parsed.signatures,
        transaction.source.account_id,
        transaction.fee,
    )


class _Signatures:
    """The signatures of one hash, and which of them somebody needed."""

    def __init__(self, digest: bytes, signatures: Sequence[DecoratedSignature]) -> None:
        self._digest = digest
        self._signatures = signatures
        self._used: set[int] = set()

    def reach(self, address: str, account: Account | None, threshold: int) -> bool:
        """True when the account's signers that signed weigh enough. An account to be made has its own key."""
        signers = {address: 1} if account is None else {address: account.master_weight, **account.signers}
        weight = 0
        for key, worth in signers.items():
            if worth and self._signed_by(key):
                weight += worth
                if weight >= threshold:
                    return True
        return False

    @property
    def all_used(self) -> bool:
        """False when a signature served nobody: the network refuses those."""
        return len(self._used) == len(self._signatures)

    def _signed_by(self, key: str) -> bool:
        keypair = Keypair.from_public_key(key)
        for index, decorated in enumerate(self._signatures):
            if decorated.signature_hint != keypair.signature_hint():
                continue
            try:
                keypair.verify(self._digest, decorated.signature)
            except BadSignatureError:
                continue
            self._used.add(index)
            return True
        return False


def check(envelope: Envelope, state: State, close_time: int, ledger: int) -> Outcome | None:
    """None when the envelope may go into the ledger that closes then, else why not."""
    refusal = (
        _check_bounds(envelope.transaction.preconditions, close_time, ledger)
        or _check_form(envelope)
        or _check_fee(envelope, state)
        or _check_fee_source(envelope, state)
        or _check_sequence(envelope, state)
    )
    if refusal is not None:
        return Outcome(refusal)
    return _check_consent(envelope, state)


def _check_sequence(envelope: Envelope, state: State) -> Code | None:
    account = state.accounts.get(envelope.source)
    if account is None:
        return Code.txNO_ACCOUNT
    return None if envelope.transaction.sequence == account.sequence + 1 else Code.txBAD_SEQ


def _check_consent(envelope: Envelope, state: State) -> Outcome | None:
    """Signatures and the fee, for an account that exists."""
    account = state.accounts[envelope.source]
    signatures = _Signatures(envelope.digest, envelope.signatures)
    if not signatures.reach(account.id, account, account.low):
        return Outcome(Code.txBAD_AUTH)
    fee = envelope.fee_at(state.rules.base_fee)
    if envelope.inner_hash is None and account.balance - account.reserve < fee:
        return Outcome(Code.txINSUFFICIENT_BALANCE)
    operations = _check_operations(envelope, state, signatures)
    if operations is not None:
        return Outcome(Code.txFAILED, operations)
    return None if signatures.all_used else Outcome(Code.txBAD_AUTH_EXTRA)


def _check_bounds(preconditions: Preconditions | None, close_time: int, ledger: int) -> Code | None:
    if preconditions is None:
        return None
    times, ledgers = preconditions.time_bounds, preconditions.ledger_bounds
    if (times and close_time < times.min_time) or (ledgers and ledger < ledgers.min_ledger):
        return Code.txTOO_EARLY
    if (times and 0 < times.max_time < close_time) or (ledgers and 0 < ledgers.max_ledger <= ledger):
        return Code.txTOO_LATE
    rare = (
        preconditions.min_sequence_number,
        preconditions.min_sequence_age,
        preconditions.min_sequence_ledger_gap,
        preconditions.extra_signers,
    )
    return Code.txNOT_SUPPORTED if any(rare) else None


def _check_form(envelope: Envelope) -> Code | None:
    operations, data = envelope.operations, envelope.transaction.soroban_data
    if not operations:
        return Code.txMISSING_OPERATION
    if len(operations) > OPERATIONS_MAX:
        return Code.txMALFORMED
    if envelope.is_contract_call:
        has_memo = type(envelope.transaction.memo).__name__ != "NoneMemo"
        if len(operations) != 1:
            return Code.txMALFORMED
        if data is None or has_memo or data.resource_fee.int64 <= 0:
            return Code.txSOROBAN_INVALID
    elif data is not None:
        return Code.txMALFORMED
    return None


def _check_fee(envelope: Envelope, state: State) -> Code | None:
    return Code.txINSUFFICIENT_FEE if envelope.max_fee < envelope.fee_at(state.rules.base_fee) else None


def _check_fee_source(envelope: Envelope, state: State) -> Code | None:
    """The outer half of a fee bump; nothing to say about any other envelope."""
    if envelope.inner_hash is None:
        return None
    payer = state.accounts.get(envelope.fee_source)
    if payer is None:
        return Code.txNO_ACCOUNT
    signatures = _Signatures(envelope.outer_digest, envelope.outer_signatures)
    if not signatures.reach(payer.id, payer, payer.low):
        return Code.txBAD_AUTH
    if not signatures.all_used:
        return Code.txBAD_AUTH_EXTRA
    if payer.balance - payer.reserve < envelope.fee_at(state.rules.base_fee):
        return Code.txINSUFFICIENT_BALANCE
    return None


def operation_type(operation: Operation) -> OperationType:
    """The XDR type of an operation."""
    return operation.to_xdr_object().body.type


def _check_operations(
    envelope: Envelope, state: State, signatures: _Signatures
) -> tuple[OperationOutcome, ...] | None:
    """Every operation needs its own source's consent; one that lacks it refuses the transaction."""
    outcomes: list[OperationOutcome] = []
    refused = False
    for operation in envelope.operations:
        kind = operation_type(operation)
        source = envelope.source_of(operation)
        account = state.accounts.get(source)
        if kind not in SUPPORTED:
            outcomes.append(outer_outcome(OperationResultCode.opNOT_SUPPORTED))
            refused = True
        elif not signatures.reach(source, account, _threshold(operation, account)):
            outcomes.append(outer_outcome(OperationResultCode.opBAD_AUTH))
            refused = True
        else:
            outcomes.append(success_placeholder(kind))
    return tuple(outcomes) if refused else None


def _threshold(operation: Operation, account: Account | None) -> int:
    if account is None:
        return 0
    if isinstance(operation, SetOptions):
        touches_keys = operation.signer is not None or operation.master_weight is not None
        return account.high if touches_keys else account.medium
    return account.low if type(operation).__name__ == "BumpSequence" else account.medium

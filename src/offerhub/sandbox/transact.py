"""One transaction of a ledger: its operations applied or undone together, and the record that is kept of it."""

import logging
from dataclasses import replace

from stellar_sdk import Address, xdr
from stellar_sdk.xdr import OperationResultCode
from stellar_sdk.xdr import TransactionResultCode as Code

from offerhub.sandbox.apply import Applier
from offerhub.sandbox.calls import Call
from offerhub.sandbox.effects import Effect, OperationFailed
from offerhub.sandbox.envelope import Envelope, operation_type
from offerhub.sandbox.history import OperationRecord, TransactionRecord
from offerhub.sandbox.options import Cast
from offerhub.sandbox.records import PAYMENT_TYPES, describe
from offerhub.sandbox.results import (
    OperationOutcome,
    Outcome,
    meta_xdr,
    operation_outcome,
    outer_outcome,
    result_xdr,
    success_placeholder,
)
from offerhub.sandbox.state import State
from offerhub.sandbox.token_events import events_of

_log = logging.getLogger("offerhub.sandbox")


def apply_transaction(
    state: State, cast: Cast, envelope: Envelope, sequence: int, index: int, closed_at: int
) -> TransactionRecord:
    """Apply a transaction whose fee is paid. One that fails leaves nothing but its sequence number behind.

    When the sandbox itself is at fault, it says so in the log, and that one transaction fails with
    tx_internal_error: everybody else's go on.
    """
    source = state.accounts.get(envelope.source)
    # One that was merged away earlier in this ledger has no sequence number left; its operations fail.
    if source is not None:
        state.put(state.accounts, source.id, replace(source, sequence=envelope.transaction.sequence))
    mark = state.savepoint()
    record = TransactionRecord(
        id=(sequence << 32) | (index << 12),
        envelope=envelope,
        ledger=sequence,
        closed_at=closed_at,
        outcome=Outcome(Code.txINTERNAL_ERROR),
        fee_charged=envelope.fee_at(state.rules.base_fee),
        result_xdr="",
        meta_xdr=meta_xdr([], None, None),
        complaint=None,
    )
    try:
        _apply(state, cast, record, mark)
    except Exception:  # noqa: BLE001 - whatever it is, it must not take everybody else's transactions along
        _log.exception("transaction %s in ledger %s broke the sandbox: tx_internal_error", envelope.hash, sequence)
        state.rollback(mark)
        record.outcome, record.operations = Outcome(Code.txINTERNAL_ERROR), []
        record.complaint, record.returned_contract, record.contracts, record.events = None, None, frozenset(), []
    record.result_xdr = result_xdr(record.outcome, record.fee_charged, envelope.inner_hash)
    return record


def _apply(state: State, cast: Cast, record: TransactionRecord, mark: int) -> None:
    envelope = record.envelope
    effects, failure, dangling = _apply_operations(state, cast, envelope, record.ledger)
    outcomes: list[OperationOutcome] = [effect.outcome for effect in effects]
    call = next((effect.call for effect in effects if effect.call is not None), None)
    if failure is not None:
        state.rollback(mark)
        call = None
        kinds = [operation_type(operation) for operation in envelope.operations]
        outcomes.append(
            outer_outcome(failure.code)
            if isinstance(failure.code, OperationResultCode)
            else operation_outcome(kinds[len(outcomes)], failure.code)
        )
        # The real network tries the operations behind the failed one too; their codes are not worth it.
        outcomes += [success_placeholder(kind) for kind in kinds[len(outcomes) :]]
    record.outcome = Outcome(Code.txSUCCESS if failure is None else Code.txFAILED, tuple(outcomes))
    if dangling:
        state.rollback(mark)
        record.outcome, call = Outcome(Code.txBAD_SPONSORSHIP), None
    record.complaint = failure.complaint if failure else None
    record.events = _events(effects, envelope, cast) if record.success else [[] for _ in envelope.operations]
    record.meta_xdr = meta_xdr(record.events, call, record.complaint)
    record.returned_contract = _returned_contract(call)
    record.contracts = frozenset({call.contract}) if call else frozenset()
    record.operations = [_record_operation(record, number, call) for number in range(len(envelope.operations))]


def _apply_operations(
    state: State, cast: Cast, envelope: Envelope, sequence: int
) -> tuple[list[Effect], OperationFailed | None, bool]:
    """What each operation did, why one failed, and whether a sponsorship was begun and not ended."""
    applier = Applier(state, cast, envelope, sequence)
    effects: list[Effect] = []
    for index, operation in enumerate(envelope.operations):
        try:
            effects.append(applier.apply(operation, envelope.source_of(operation), index))
        except OperationFailed as failure:
            return effects, failure, False
    return effects, None, bool(applier.sponsors)


def _events(effects: list[Effect], envelope: Envelope, cast: Cast) -> list[list[xdr.ContractEvent]]:
    return [
        events_of(effect, operation, envelope, cast.network_passphrase)
        for effect, operation in zip(effects, envelope.operations, strict=True)
    ]


def _record_operation(record: TransactionRecord, number: int, call: Call | None) -> OperationRecord:
    operation = record.envelope.operations[number]
    source = record.envelope.source_of(operation)
    body, participants = describe(operation, source, call)
    is_payment = body["type"] in PAYMENT_TYPES or bool(body.get("asset_balance_changes"))
    toid = record.id | (number + 1)
    return OperationRecord(toid, record, source, body, frozenset(participants), is_payment)


def _returned_contract(call: Call | None) -> str | None:
    if call is None or call.function != "deploy" or call.returned.address is None:
        return None
    return Address.from_xdr_sc_address(call.returned.address).address

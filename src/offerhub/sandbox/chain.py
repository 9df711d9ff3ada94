"""The ledger itself: takes envelopes, closes ledgers, keeps history, remembers on disk.

Transactions of a ledger are applied in the order in which they arrived. Ledgers close in whole seconds of
wall-clock time that never step back; with ledgers quicker than a second, several share one close time, so that
time bounds keep their meaning.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from stellar_sdk import Address
from stellar_sdk.xdr import OperationResultCode
from stellar_sdk.xdr import TransactionResultCode as Code

from offerhub.kernel.clock import Clock
from offerhub.sandbox.apply import Applier, Effect, OperationFailed
from offerhub.sandbox.contracts import Call
from offerhub.sandbox.envelope import Envelope, Malformed, check, decode, operation_type
from offerhub.sandbox.genesis import genesis_envelopes
from offerhub.sandbox.history import History, LedgerRecord, OperationRecord, TransactionRecord
from offerhub.sandbox.journal import Journal
from offerhub.sandbox.options import Cast, SandboxOptions
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
from offerhub.sandbox.state import TOTAL_XLM, Account, ConservationError, State

GENESIS_CLOSED_AT: Final = 1_500_000_000


class Rejected(Exception):
    """An envelope that no ledger will take; nothing was charged."""

    def __init__(self, envelope: Envelope, outcome: Outcome) -> None:
        super().__init__(outcome.code.name)
        self.envelope = envelope
        self.outcome = outcome


class SubmissionTimeout(Exception):
    """Nobody knows yet whether a ledger will take the envelope."""

    def __init__(self, envelope: Envelope) -> None:
        super().__init__(envelope.hash)
        self.envelope = envelope


class Chain:
    """One network with one node."""

    def __init__(self, options: SandboxOptions, clock: Clock) -> None:
        self.options = options
        self.cast = Cast(options.seed, options.network_passphrase)
        self.state = State()
        self.history = History()
        self.ledger_seconds = options.ledger_seconds
        self.closed = asyncio.Event()
        """Set, and replaced, at every close."""
        self.stopped = False
        self.broken = asyncio.Event()
        """Set for good once the books did not add up: nothing may go on from there."""
        self._clock = clock
        self._offset_seconds = 0
        self._pending: dict[str, Envelope] = {}
        self._waiting: dict[str, list[asyncio.Future[TransactionRecord]]] = {}
        self._journal: Journal | None = None
        self._begin()

    @property
    def latest(self) -> LedgerRecord:
        """The last closed ledger."""
        return self.history.latest

    def is_busy(self, account: str) -> bool:
        """True when a transaction of this source waits for the next ledger."""
        return account in self._pending

    def now(self) -> int:
        """The time at which a ledger would close at this moment, in Unix seconds."""
        return max(self.latest.closed_at, int(self._clock.now().timestamp()) + self._offset_seconds)

    def advance(self, seconds: int) -> None:
        """Put the network's clock forward."""
        self._offset_seconds += seconds

    def decode(self, text: str) -> Envelope:
        """Read a base64 envelope for this network. Raises Malformed."""
        return decode(text, self.options.network_passphrase)

    async def submit(self, envelope: Envelope) -> TransactionRecord:
        """Offer an envelope and wait for its ledger; one that is in a ledger already is answered at once.

        Raises Rejected when no ledger will take it, SubmissionTimeout when that is not known in time.
        """
        known = self.history.by_hash.get(envelope.hash)
        if known is not None:
            return known
        return await self.inclusion(envelope, self.offer(envelope))

    def offer(self, envelope: Envelope) -> "asyncio.Future[TransactionRecord]":
        """Queue an envelope at once; the future is its place in a ledger. Raises Rejected."""
        self._enqueue(envelope)
        future: asyncio.Future[TransactionRecord] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(envelope.hash, []).append(future)
        if self.stopped:
            future.set_exception(TimeoutError())
        return future

    async def inclusion(self, envelope: Envelope, offered: "asyncio.Future[TransactionRecord]") -> TransactionRecord:
        """Wait for what was offered. Raises SubmissionTimeout."""
        try:
            return await asyncio.wait_for(offered, self.options.submission_timeout_seconds)
        except TimeoutError:
            raise SubmissionTimeout(envelope) from None
        finally:
            waiting = self._waiting.get(envelope.hash, [])
            with suppress(ValueError):
                waiting.remove(offered)
            if not waiting:
                self._waiting.pop(envelope.hash, None)

    def _enqueue(self, envelope: Envelope) -> None:
        """Queue it, or leave it out while another transaction of its source is queued (TRY_AGAIN_LATER).

        A sequence number that is too high may become right: like Horizon, the caller then waits for that.
        """
        if envelope.source in self._pending:
            return
        outcome = check(envelope, self.state, self.now(), self.latest.sequence + 1)
        if outcome is None:
            self._pending[envelope.source] = envelope
            return
        account = self.state.accounts.get(envelope.source)
        too_high = account is not None and envelope.transaction.sequence > account.sequence + 1
        if not (outcome.code == Code.txBAD_SEQ and too_high):
            raise Rejected(envelope, outcome)

    def close(self) -> LedgerRecord:
        """Close a ledger now. Raises ConservationError when money appeared or vanished."""
        if self.broken.is_set():
            raise ConservationError("the books did not add up before")
        pending, self._pending = list(self._pending.values()), {}
        envelopes, sequence, closed_at = [], self.latest.sequence + 1, self.now()
        for envelope in pending:
            outcome = check(envelope, self.state, closed_at, sequence)
            if outcome is None:
                envelopes.append(envelope)
            else:
                # The network drops it in silence; those who wait learn nothing, as with the real one.
                self._settle(envelope.hash, SubmissionTimeout(envelope))
        records = self._apply_ledger(sequence, closed_at, envelopes)
        if self._journal is not None:
            self._journal.append(sequence, closed_at, [envelope.xdr for envelope in envelopes])
        for record in records:
            self._settle(record.envelope.hash, record)
        self.closed.set()
        self.closed = asyncio.Event()
        return self.latest

    def stop(self) -> None:
        """Send home everybody who waits for a ledger."""
        self.stopped = True
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(TimeoutError())
        self.closed.set()

    def dispose(self) -> None:
        """Let go of the state file."""
        if self._journal is not None:
            self._journal.close()

    def _settle(self, transaction_hash: str, answer: TransactionRecord | SubmissionTimeout) -> None:
        for future in self._waiting.pop(transaction_hash, []):
            if future.done():
                continue
            if isinstance(answer, TransactionRecord):
                future.set_result(answer)
            else:
                future.set_exception(answer)

    def _begin(self) -> None:
        """Genesis, then whatever the state file remembers."""
        root = Account(self.cast.root.public_key, TOTAL_XLM, 0)
        self.state.accounts[root.id] = root
        self.history.add(LedgerRecord(1, _hash("genesis"), "0" * 64, GENESIS_CLOSED_AT, 0, 0, 0), [])
        for sequence, texts in enumerate(genesis_envelopes(self.cast), start=2):
            self._apply_ledger(sequence, GENESIS_CLOSED_AT, [self.decode(text) for text in texts])
        reserved = 0
        if self.options.state_file is not None:
            identity = {"seed": self.options.seed, "network_passphrase": self.options.network_passphrase}
            self._journal = Journal(self.options.state_file, identity)
            for line in self._journal.lines():
                envelopes = [self.decode(text) for text in line.envelopes]
                self._apply_ledger(line.ledger, line.closed_at, envelopes)
            reserved = self._journal.reserved
        self._apply_ledger(max(self.latest.sequence + 1, reserved), self.now(), [])

    def _apply_ledger(self, sequence: int, closed_at: int, envelopes: Sequence[Envelope]) -> list[TransactionRecord]:
        """Fees first, for all; then each transaction, alone."""
        self.state.ledger = sequence
        for envelope in envelopes:
            self.state.charge(self.state.accounts[envelope.fee_source], envelope.fee_charged)
        records = [
            self._apply_transaction(envelope, sequence, index, closed_at)
            for index, envelope in enumerate(envelopes, start=1)
        ]
        self.state.commit()
        if records:
            self._check_books()
        successful = [record for record in records if record.success]
        previous = self.latest.hash
        ledger = LedgerRecord(
            sequence,
            _hash(previous, str(sequence), str(closed_at), *(record.envelope.hash for record in records)),
            previous,
            closed_at,
            len(successful),
            len(records) - len(successful),
            sum(len(record.operations) for record in successful),
        )
        self.history.add(ledger, records)
        return records

    def _check_books(self) -> None:
        try:
            self.state.check_conservation()
        except ConservationError:
            self.broken.set()
            raise

    def _apply_transaction(self, envelope: Envelope, sequence: int, index: int, closed_at: int) -> TransactionRecord:
        source = self.state.accounts[envelope.source]
        self.state.put(self.state.accounts, source.id, replace(source, sequence=envelope.transaction.sequence))
        mark = self.state.savepoint()
        effects, failure = self._apply_operations(envelope, sequence)
        outcomes: list[OperationOutcome] = [effect.outcome for effect in effects]
        call = next((effect.call for effect in effects if effect.call is not None), None)
        if failure is not None:
            self.state.rollback(mark)
            call = None
            kinds = [operation_type(operation) for operation in envelope.operations]
            outcomes.append(
                outer_outcome(failure.code)
                if isinstance(failure.code, OperationResultCode)
                else operation_outcome(kinds[len(outcomes)], failure.code)
            )
            # The real network tries the operations behind the failed one too; their codes are not worth it.
            outcomes += [success_placeholder(kind) for kind in kinds[len(outcomes) :]]
        code = Code.txSUCCESS if failure is None else Code.txFAILED
        outcome = Outcome(code, tuple(outcomes))
        complaint = failure.complaint if failure else None
        record = TransactionRecord(
            id=(sequence << 32) | (index << 12),
            envelope=envelope,
            ledger=sequence,
            closed_at=closed_at,
            outcome=outcome,
            fee_charged=envelope.fee_charged,
            result_xdr=result_xdr(outcome, envelope.fee_charged, envelope.inner_hash),
            meta_xdr=meta_xdr(len(envelope.operations), call, complaint),
            complaint=complaint,
            returned_contract=_returned_contract(call),
            contracts=frozenset({call.contract}) if call else frozenset(),
        )
        record.operations += [
            self._record_operation(record, number, call) for number in range(len(envelope.operations))
        ]
        return record

    def _apply_operations(self, envelope: Envelope, sequence: int) -> tuple[list[Effect], OperationFailed | None]:
        applier = Applier(self.state, self.cast, sequence)
        effects: list[Effect] = []
        for operation in envelope.operations:
            try:
                effects.append(applier.apply(operation, envelope.source_of(operation)))
            except OperationFailed as failure:
                return effects, failure
        return effects, None

    def _record_operation(self, record: TransactionRecord, number: int, call: Call | None) -> OperationRecord:
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


def _hash(*parts: str) -> str:
    return hashlib.sha256(":".join(parts).encode()).hexdigest()


__all__ = ["Chain", "Malformed", "Rejected", "SubmissionTimeout"]

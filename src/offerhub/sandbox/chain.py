"""The ledger itself: takes envelopes, closes ledgers, keeps history, remembers on disk.

Transactions of a ledger are applied in the order in which they arrived. Ledgers close in whole seconds of the
sandbox's clock, which never step back; with ledgers quicker than a second, several share one close time, so that
time bounds keep their meaning.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from stellar_sdk.xdr import TransactionResultCode as Code

from offerhub.sandbox.changes import ChangeRefused, apply_change
from offerhub.sandbox.clock import ClockMode, WorldClock
from offerhub.sandbox.envelope import Envelope, Malformed, check, decode
from offerhub.sandbox.genesis import genesis_envelopes
from offerhub.sandbox.history import History, LedgerRecord, TransactionRecord
from offerhub.sandbox.journal import RESET, ChangeLine, Journal
from offerhub.sandbox.options import Cast, SandboxOptions
from offerhub.sandbox.results import Outcome
from offerhub.sandbox.state import TOTAL_XLM, Account, ConservationError, State, asset_name
from offerhub.sandbox.transact import apply_transaction

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

    def __init__(self, options: SandboxOptions, clock: WorldClock) -> None:
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
        self.clock = clock
        self.epoch = 0
        """How often the network has begun anew."""
        self.on_close: Callable[[], None] = lambda: None
        """Called after every close, before anybody else hears of it. Raises ConservationError."""
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

    def waiting(self) -> list[str]:
        """The hashes of the transactions that wait for the next ledger."""
        return [envelope.hash for envelope in self._pending.values()]

    def pending_of(self, account: str) -> Envelope | None:
        """The transaction of this source that waits for the next ledger."""
        return self._pending.get(account)

    def now(self) -> int:
        """The time at which a ledger would close at this moment, in Unix seconds."""
        return max(self.latest.closed_at, int(self.clock.now()))

    def set_clock(self, mode: ClockMode, factor: float = 1.0) -> None:
        """Let time run differently, and remember it."""
        self.clock.set(mode, factor)
        self.keep_clock()

    def keep_clock(self) -> None:
        """Remember what time it is, so that a restart goes on from there."""
        if self._journal is not None:
            self._journal.note("clock", self.clock.kept())

    def change(self, kind: str, body: Mapping[str, Any]) -> None:
        """Do to the ledger what a control asks for (sandbox.changes), and remember it. Raises ChangeRefused."""
        self._change(kind, body)
        if self._journal is not None:
            self._journal.note(kind, dict(body))

    def reset(self) -> None:
        """Begin anew, as a testnet does: no accounts, and ledgers count from the start again."""
        self._reset()
        if self._journal is not None:
            self._journal.note(RESET, {})
        self._apply_ledger(self.latest.sequence + 1, self.now(), [])
        self._tell_closed()

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
        self.enqueue(envelope)
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

    def enqueue(self, envelope: Envelope) -> None:
        """Queue it, or leave it out while another transaction of its source is queued (TRY_AGAIN_LATER).

        A sequence number that is too high may become right: like Horizon, the caller then waits for that.
        Raises Rejected.
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

    def close(self, skipped: int = 0) -> LedgerRecord:
        """Close a ledger now; `skipped` numbers before it are those of empty ledgers that nobody saw.

        Raises ConservationError when money appeared or vanished.
        """
        if self.broken.is_set():
            raise ConservationError("the books did not add up before")
        pending, self._pending = list(self._pending.values()), {}
        envelopes, sequence, closed_at = [], self.latest.sequence + 1 + skipped, self.now()
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
        self._tell_closed()
        return self.latest

    def _tell_closed(self) -> None:
        try:
            self.on_close()
        except ConservationError:
            self.broken.set()
            raise
        self.closed.set()
        self.closed = asyncio.Event()

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
        self._genesis()
        reserved = 0
        if self.options.state_file is not None:
            identity = {"seed": self.options.seed, "network_passphrase": self.options.network_passphrase}
            self._journal = Journal(self.options.state_file, identity)
            for line in self._journal.lines():
                if isinstance(line, ChangeLine):
                    self._redo(line)
                else:
                    envelopes = [self.decode(text) for text in line.envelopes]
                    self._apply_ledger(line.ledger, line.closed_at, envelopes)
            reserved = self._journal.reserved
        self._apply_ledger(max(self.latest.sequence + 1, reserved), self.now(), [])
        if self.options.clock is not None:
            self.set_clock(self.options.clock, self.options.clock_factor)
        if self.options.fee_mode != self.state.rules.fee_mode:
            self.change("rules", {"fee_mode": self.options.fee_mode})

    def _redo(self, line: ChangeLine) -> None:
        if line.kind == "clock":
            self.clock.restore(line.body)
        elif line.kind == RESET:
            self._reset()
        else:
            self._change(line.kind, line.body)

    def _change(self, kind: str, body: Mapping[str, Any]) -> None:
        mark = self.state.savepoint()
        try:
            apply_change(self.state, kind, body, asset_name(self.cast.usdc))
        except ChangeRefused:
            self.state.rollback(mark)
            raise
        self.state.commit()
        self._check_books()

    def _reset(self) -> None:
        self._pending.clear()
        rules = self.state.rules
        self.state.begin()
        self.state.rules = rules
        self.history.begin()
        self.epoch += 1
        self._genesis()

    def _genesis(self) -> None:
        root = Account(self.cast.root.public_key, TOTAL_XLM, 0)
        self.state.accounts[root.id] = root
        self.history.add(LedgerRecord(1, _hash("genesis"), "0" * 64, GENESIS_CLOSED_AT, 0, 0, 0), [])
        for sequence, texts in enumerate(genesis_envelopes(self.cast), start=2):
            self._apply_ledger(sequence, GENESIS_CLOSED_AT, [self.decode(text) for text in texts])

    def _apply_ledger(self, sequence: int, closed_at: int, envelopes: Sequence[Envelope]) -> list[TransactionRecord]:
        """Fees first, for all; then each transaction, alone."""
        self.state.ledger = sequence
        for envelope in envelopes:
            fee = envelope.fee_at(self.state.rules.base_fee)
            self.state.charge(self.state.accounts[envelope.fee_source], fee)
        records = [
            apply_transaction(self.state, self.cast, envelope, sequence, index, closed_at)
            for index, envelope in enumerate(envelopes, start=1)
        ]
        self.state.commit()
        if records:
            self._check_books()
        successful = [record for record in records if record.success]
        previous = self.latest.hash
        # Not of the ledger before: empty ones are not kept over a restart, and hashes must stay what they were.
        ledger = LedgerRecord(
            sequence,
            _hash(str(sequence), str(closed_at), *(record.envelope.hash for record in records)),
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


def _hash(*parts: str) -> str:
    return hashlib.sha256(":".join(parts).encode()).hexdigest()


__all__ = ["Chain", "Malformed", "Rejected", "SubmissionTimeout"]

"""What happened, append-only and indexed as Horizon asks for it. Ids are real TOIDs (SEP-35)."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, Protocol, TypeVar

from stellar_sdk import StrKey, xdr

from offerhub.sandbox.envelope import Envelope
from offerhub.sandbox.results import Outcome


@dataclass(slots=True)
class TransactionRecord:
    """A transaction in a ledger. `complaint` is the number and text of a contract's refusal."""

    id: int
    envelope: Envelope
    ledger: int
    closed_at: int
    outcome: Outcome
    fee_charged: int
    result_xdr: str
    meta_xdr: str
    complaint: tuple[int, str] | None
    operations: list["OperationRecord"] = field(default_factory=list)
    returned_contract: str | None = None
    contracts: frozenset[str] = frozenset()
    events: list[list[xdr.ContractEvent]] = field(default_factory=list)
    """By operation."""

    @property
    def success(self) -> bool:
        """True when its operations were applied."""
        return self.outcome.success


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """An operation in a ledger; `body` is Horizon's JSON without what the transaction and links add."""

    id: int
    transaction: TransactionRecord
    source: str
    body: dict[str, Any]
    participants: frozenset[str]
    is_payment: bool

    @property
    def success(self) -> bool:
        """True when its transaction succeeded."""
        return self.transaction.success


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event in a ledger, with its XDR in base64. `operation` counts from 0, as RPC does, and so does `index`."""

    transaction: TransactionRecord
    operation: int
    index: int
    contract: str
    topics: tuple[str, ...]
    value: str

    @property
    def place(self) -> tuple[int, int]:
        """Where it is among all events: the TOID of its operation as RPC counts, and its index there."""
        return self.transaction.id | self.operation, self.index


@dataclass(frozen=True, slots=True)
class LedgerRecord:
    """A closed ledger; `closed_at` in Unix seconds."""

    sequence: int
    hash: str
    previous_hash: str
    closed_at: int
    successful: int
    failed: int
    operations: int

    @property
    def id(self) -> int:
        """The TOID of the ledger itself."""
        return self.sequence << 32


class Ordered(Protocol):
    """Something with a place in history."""

    @property
    def id(self) -> int: ...


R = TypeVar("R", bound=Ordered)


def page(
    records: Sequence[R],
    cursor: int | None,
    order: Literal["asc", "desc"],
    limit: int,
    visible: Callable[[R], bool] = lambda record: True,
) -> list[R]:
    """The visible records behind a cursor, in either direction. `records` are in ascending order.

    >>> page([], None, "asc", 10)
    []
    """
    if order == "asc":
        start = 0 if cursor is None else bisect_right(records, cursor, key=lambda record: record.id)
        positions = range(start, len(records))
    else:
        end = len(records) if cursor is None else bisect_left(records, cursor, key=lambda record: record.id)
        positions = range(end - 1, -1, -1)
    # Lazily: a poller of a long history must not copy it each time.
    return list(islice((records[p] for p in positions if visible(records[p])), limit))


class History:
    """Every ledger, transaction and operation since genesis."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Remember nothing, as before genesis."""
        self.ledgers: list[LedgerRecord] = []
        self.transactions: list[TransactionRecord] = []
        self.operations: list[OperationRecord] = []
        self.payments: list[OperationRecord] = []
        self.events: list[EventRecord] = []
        self.by_hash: dict[str, TransactionRecord] = {}
        self.account_transactions: dict[str, list[TransactionRecord]] = defaultdict(list)
        self.account_operations: dict[str, list[OperationRecord]] = defaultdict(list)
        self.account_payments: dict[str, list[OperationRecord]] = defaultdict(list)

    @property
    def latest(self) -> LedgerRecord:
        """The last closed ledger."""
        return self.ledgers[-1]

    def operation(self, number: int) -> OperationRecord | None:
        """The operation with this TOID."""
        index = bisect_left(self.operations, number, key=lambda record: record.id)
        found = self.operations[index : index + 1]
        return found[0] if found and found[0].id == number else None

    def ledger(self, sequence: int) -> LedgerRecord | None:
        """The ledger with this number; None when it is to come, or fell into a restart."""
        index = bisect_left(self.ledgers, sequence, key=lambda record: record.sequence)
        found = self.ledgers[index : index + 1]
        return found[0] if found and found[0].sequence == sequence else None

    def at_most(self, sequence: int) -> LedgerRecord:
        """The last ledger that is not above this number, or the first."""
        return self.ledgers[max(0, bisect_right(self.ledgers, sequence, key=lambda record: record.sequence) - 1)]

    def add(self, ledger: LedgerRecord, transactions: Sequence[TransactionRecord]) -> None:
        """Append a ledger with its transactions in their order."""
        self.ledgers.append(ledger)
        for transaction in transactions:
            self._add_transaction(transaction)

    def _add_transaction(self, record: TransactionRecord) -> None:
        envelope = record.envelope
        self.transactions.append(record)
        self.by_hash[envelope.hash] = record
        if envelope.inner_hash is not None:
            self.by_hash[envelope.inner_hash] = record
        involved = {envelope.source, envelope.fee_source}
        for operation in record.operations:
            involved |= operation.participants
            self.operations.append(operation)
            if operation.is_payment:
                self.payments.append(operation)
            for account in operation.participants:
                self.account_operations[account].append(operation)
                if operation.is_payment:
                    self.account_payments[account].append(operation)
        for account in involved:
            self.account_transactions[account].append(record)
        for number, emitted in enumerate(record.events):
            self.events += [_event(record, number, index, event) for index, event in enumerate(emitted)]


def _event(record: TransactionRecord, operation: int, index: int, event: xdr.ContractEvent) -> EventRecord:
    body = event.body.v0
    assert body is not None
    assert event.contract_id is not None
    contract = StrKey.encode_contract(event.contract_id.contract_id.hash)
    topics = tuple(topic.to_xdr() for topic in body.topics)
    return EventRecord(record, operation, index, contract, topics, body.data.to_xdr())

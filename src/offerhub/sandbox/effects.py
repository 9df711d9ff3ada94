"""What comes of an operation: what it did, or why the ledger does not allow it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from stellar_sdk import Operation
from stellar_sdk.xdr import OperationType

from offerhub.sandbox.calls import Call
from offerhub.sandbox.results import OperationOutcome, operation_outcome
from offerhub.sandbox.state import Movement


class OperationFailed(Exception):
    """The ledger does not allow the operation. `complaint` is a contract's error number and text."""

    def __init__(self, code: IntEnum, complaint: tuple[int, str] | None = None) -> None:
        super().__init__(code.name)
        self.code = code
        self.complaint = complaint


def units(text: str) -> int:
    """An operation's amount in units; stellar-sdk writes the smallest ones with an exponent, such as `1E-7`."""
    return int(Operation.to_xdr_amount(text))


@dataclass(slots=True)
class Effect:
    """What came of an operation: its result, and for a contract call what it did, for any other what it moved."""

    outcome: OperationOutcome
    call: Call | None = None
    movements: Sequence[Movement] = ()


def done(kind: OperationType, code: IntEnum, *movements: Movement, **success: Any) -> Effect:
    """The effect of an operation of this kind that succeeded, and moved this."""
    return Effect(operation_outcome(kind, code, **success), movements=movements)

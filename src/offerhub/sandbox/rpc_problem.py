"""What every method of the RPC face has in common: its view of history, and how it refuses."""

from dataclasses import dataclass
from typing import Any, Final

from offerhub.sandbox.history import LedgerRecord

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
NO_METHOD: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603


class RpcProblem(Exception):
    """An answer with an `error`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class RpcView:
    """How much of history the node shows: the last ledger that it has, and the oldest that it still keeps."""

    latest: LedgerRecord
    oldest: int
    oldest_closed_at: int

    def span(self) -> dict[str, Any]:
        """As most answers tell it."""
        return {
            "latestLedger": self.latest.sequence,
            "latestLedgerCloseTime": str(self.latest.closed_at),
            "oldestLedger": self.oldest,
            "oldestLedgerCloseTime": str(self.oldest_closed_at),
        }


def bad_params(message: str) -> RpcProblem:
    """The parameters cannot be."""
    return RpcProblem(INVALID_PARAMS, message)


def out_of_range(view: RpcView) -> RpcProblem:
    """A ledger that the node does not have: forgotten, or still to come."""
    return RpcProblem(
        INVALID_REQUEST, f"startLedger must be within the ledger range: {view.oldest} - {view.latest.sequence}"
    )

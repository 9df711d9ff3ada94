"""Faults that strike the ledger itself, at once; most of them last until they are taken away."""

import math
from collections.abc import Callable

from offerhub.sandbox.chain import Chain
from offerhub.sandbox.changes import ChangeRefused
from offerhub.sandbox.faults import Fault
from offerhub.sandbox.ledger_timer import LedgerTimer


class ChainFaults:
    """Carries out the faults of the face `chain` on one chain."""

    def __init__(self, chain: Chain, timer: LedgerTimer) -> None:
        self._chain = chain
        self._timer = timer

    def strike(self, fault: Fault) -> None:
        """Let it happen. Raises ChangeRefused when it cannot."""
        strikes: dict[str, Callable[[Fault], None]] = {
            "stall": self._stall,
            "time_jump": self._jump,
            "fee_surge": lambda fault: self._chain.change("rules", {"surge": fault.request.value}),
            "fee_mode": lambda fault: self._chain.change("rules", {"fee_mode": fault.request.value}),
            "reset": lambda fault: self._chain.reset(),
            "archive": lambda fault: self._chain.change("archive", {"contract": fault.request.target}),
            "dispute": lambda fault: self._chain.change(
                "dispute", {"contract": fault.request.target, "milestone": fault.request.value}
            ),
            "freeze_line": self._freeze,
            "full_line": self._fill,
        }
        strikes[fault.kind](fault)
        fault.seen += 1
        fault.fired += 1

    def end(self, fault: Fault) -> None:
        """Undo what can be undone when the fault is taken away."""
        match fault.kind:
            case "stall":
                self._timer.stalled_until = None
            case "fee_surge":
                self._chain.change("rules", {"surge": 1})

    def _stall(self, fault: Fault) -> None:
        seconds = fault.seconds or math.inf
        self._timer.stalled_until = self._chain.clock.now() + seconds

    def _jump(self, fault: Fault) -> None:
        self._chain.clock.advance(fault.seconds)
        self._chain.keep_clock()

    def _freeze(self, fault: Fault) -> None:
        if fault.request.value not in {None, "off"}:
            raise ChangeRefused("value must be off, or left out")
        is_back = fault.request.value == "off"
        self._chain.change("line", {"address": fault.request.target, "authorized": is_back})

    def _fill(self, fault: Fault) -> None:
        limit = "full" if fault.request.value is None else str(fault.request.value)
        self._chain.change("line", {"address": fault.request.target, "limit": limit})

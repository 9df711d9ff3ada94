"""When ledgers close by themselves: every so many seconds of the sandbox's clock, unless they are held up."""

import math
from typing import Final

from offerhub.sandbox.chain import Chain
from offerhub.sandbox.schedule import Schedule

ADVANCE_LEDGERS_MAX: Final = 1_000
"""How many ledgers one advance closes one by one; over a longer time, most are only counted."""


class LedgerTimer:
    """Closes the ledgers of one chain."""

    def __init__(self, chain: Chain, schedule: Schedule) -> None:
        self._chain = chain
        self._schedule = schedule
        self._round = 0
        self._stride = 1
        self._last = schedule.clock.now()
        self.stalled_until: float | None = None
        """No ledger closes before this moment (infinity: until somebody ends it)."""

    def start(self) -> None:
        """Begin, or begin anew with another interval: the next ledger is one interval away. 0 closes none."""
        self._round += 1
        if self._chain.ledger_seconds:
            self._plan(self._round)

    def set_interval(self, seconds: float) -> None:
        """Seconds between two ledgers; 0 closes one on demand only."""
        self._chain.ledger_seconds = seconds
        self.start()

    async def advance(self, seconds: float) -> int:
        """Put the clock forward and do what falls due on the way; how much that was."""
        interval = self._chain.ledger_seconds
        self._stride = math.ceil(seconds / interval / ADVANCE_LEDGERS_MAX) if interval else 1
        self._stride = max(1, self._stride)
        try:
            done = await self._schedule.advance(seconds)
        finally:
            stride, self._stride = self._stride, 1
        if stride > 1:
            self._count_the_rest(interval)
        self._chain.keep_clock()
        return done

    def _count_the_rest(self, interval: float) -> None:
        """The ledgers since the last stride, which the next one would have counted."""
        missing = int((self._schedule.clock.now() - self._last) / interval)
        if missing > 0 and self.stalled_until is None:
            self._chain.close(skipped=missing - 1)
        self.start()

    def _plan(self, number: int) -> None:
        stride, self._last = self._stride, self._schedule.clock.now()

        def due() -> None:
            if number != self._round:
                return
            moment = self._schedule.clock.now()
            if self.stalled_until is not None and moment >= self.stalled_until:
                self.stalled_until = None
            if self.stalled_until is None:
                self._chain.close(skipped=stride - 1)
            self._plan(number)

        self._schedule.at(self._schedule.clock.now() + self._chain.ledger_seconds * stride, due)

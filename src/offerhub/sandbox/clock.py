"""The sandbox's one clock: for ledgers, Airtm's timers and the attempts of webhooks alike.

`real` runs with the machine's time, `scaled` so many times faster or slower, `stepped` stands still until it is put
forward. Moments are Unix seconds. It can be put forward at any time, and never steps back.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal, get_args

from offerhub.kernel.clock import Clock

ClockMode = Literal["real", "scaled", "stepped"]
MODES: Final = get_args(ClockMode)


class WorldClock:
    """What time it is in the sandbox."""

    def __init__(
        self, machine: Clock, mode: ClockMode = "real", factor: float = 1.0, start_at: float | None = None
    ) -> None:
        self._machine = machine
        self._real_base = machine.now().timestamp()
        self._base = self._real_base if start_at is None else start_at
        self.mode: ClockMode = mode
        self.factor = factor
        self._changed = asyncio.Event()

    def now(self) -> float:
        """The present moment."""
        return self._base + (self._machine.now().timestamp() - self._real_base) * self._rate

    def advance(self, seconds: float) -> None:
        """Put the clock forward."""
        self._rebase(self.now() + seconds)

    def move_to(self, moment: float) -> None:
        """Put the clock forward to a moment; one that has passed changes nothing."""
        self._rebase(max(self.now(), moment))

    def set(self, mode: ClockMode, factor: float = 1.0) -> None:
        """Run differently from now on."""
        present = self.now()
        self.mode, self.factor = mode, factor
        self._rebase(present)

    def kept(self) -> dict[str, Any]:
        """What a restart needs to go on from here."""
        return {"mode": self.mode, "factor": self.factor, "at": self.now(), "real": self._machine.now().timestamp()}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what was kept: a clock that runs has run meanwhile, a stepped one has not."""
        self.mode, self.factor = kept["mode"], kept["factor"]
        self._base, self._real_base = kept["at"], kept["real"]
        self._rebase(self.now())

    def wake(self) -> None:
        """Let whoever waits look again: something earlier may have become due."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_until(self, moment: float | None) -> None:
        """Wait until that moment, or until the clock or what is due has changed. None waits for a change only."""
        seconds: float | None = None
        if moment is not None and self._rate > 0:
            seconds = max(0.0, (moment - self.now()) / self._rate)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    @property
    def _rate(self) -> float:
        return {"real": 1.0, "scaled": self.factor, "stepped": 0.0}[self.mode]

    def _rebase(self, moment: float) -> None:
        self._base, self._real_base = moment, self._machine.now().timestamp()
        self.wake()

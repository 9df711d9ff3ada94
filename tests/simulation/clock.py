"""The one clock of the simulation, and the product's view of it: each process may be a little off."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(2026, 6, 1, tzinfo=UTC)
EPOCH_SECONDS: Final = EPOCH.timestamp()


class SimulatedClock:
    """A `Clock` on the loop's time. `skew` is by how many seconds this one is wrong."""

    def __init__(self, loop: asyncio.AbstractEventLoop, skew: float = 0.0) -> None:
        self._loop = loop
        self._skew = timedelta(seconds=skew)

    def now(self) -> datetime:
        """The present moment."""
        return EPOCH + timedelta(seconds=self._loop.time()) + self._skew

    def monotonic(self) -> float:
        """Seconds that never step back."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)

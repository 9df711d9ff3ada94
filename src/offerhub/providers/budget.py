"""The request budget: how often one process asks a provider at most.

Airtm allows ten requests a second (providers.md 2.1), Trustless Work fifty in any sixty seconds (4.1).
"""

import asyncio
from collections import deque

from offerhub.kernel.clock import Clock


class RequestBudget:
    """At most `requests_max` requests in any window, for this process; those beyond wait in order of arrival.

    It remembers when each of the last requests went out. A bucket that refills evenly would let twice as many
    through in the first window.
    """

    def __init__(self, clock: Clock, *, requests_max: int, window_seconds: float) -> None:
        assert requests_max > 0
        assert window_seconds > 0
        self._clock = clock
        self._window_seconds = window_seconds
        self._sent: deque[float] = deque(maxlen=requests_max)
        self._requests_max = requests_max
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Wait until one more request may go out, and count it."""
        async with self._turn:
            if len(self._sent) == self._requests_max:
                wait = self._sent[0] + self._window_seconds - self._clock.monotonic()
                if wait > 0:
                    await self._clock.sleep(wait)
            self._sent.append(self._clock.monotonic())

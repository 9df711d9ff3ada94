"""The bulkhead: a slow provider holds up its own calls and nobody else's (decision 0028)."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

from offerhub.runtime.urgency import Urgency


class NoPlace(Exception):
    """Every place was taken for as long as the caller would wait."""


class Bulkhead:
    """At most `places` at a time, `reserved` of them for critical calls; those beyond wait.

    Critical calls go before the others, each kind in order of arrival.
    """

    def __init__(self, *, places: int, reserved: int) -> None:
        assert 0 <= reserved < places
        self._places = places
        self._reserved = reserved
        self._taken = 0
        self._critical: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    @property
    def taken(self) -> int:
        """How many are inside."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many wait outside."""
        return len(self._critical) + len(self._others)

    @contextlib.asynccontextmanager
    async def place(self, urgency: Urgency, seconds_max: float) -> AsyncIterator[None]:
        """Hold a place while the block runs. Raises NoPlace when none came free in time."""
        await self._take(urgency, seconds_max)
        try:
            yield
        finally:
            self._taken -= 1
            self._admit()

    async def _take(self, urgency: Urgency, seconds_max: float) -> None:
        queue = self._critical if urgency is Urgency.CRITICAL else self._others
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._admit()
        try:
            async with asyncio.timeout(max(0.0, seconds_max)):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # The place came in the very moment in which the caller gave up: the next one shall have it.
                self._taken -= 1
            else:
                queue.remove(turn)
            self._admit()
            if isinstance(error, TimeoutError):
                raise NoPlace from None
            raise

    def _admit(self) -> None:
        for queue, places in ((self._critical, self._places), (self._others, self._places - self._reserved)):
            while queue and self._taken < places:
                self._taken += 1
                queue.popleft().set_result(None)

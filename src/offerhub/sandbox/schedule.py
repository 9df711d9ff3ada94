"""What falls due when: ledgers, the timers of Airtm, the attempts of webhooks, all in the order of their moments."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from offerhub.sandbox.clock import WorldClock

Action = Callable[[], "asyncio.Task[Any] | None"]
"""Done at its moment. Work that waits for others is returned as a task: an advance waits for it, the run does not."""


class Schedule:
    """The calendar of one clock."""

    def __init__(self, clock: WorldClock) -> None:
        self.clock = clock
        self._due: list[tuple[float, int, Action]] = []
        self._order = count()
        self._turn = asyncio.Lock()
        self._underway: set[asyncio.Task[Any]] = set()

    def at(self, moment: float, action: Action) -> None:
        """Do something at a moment; what is due at the same one keeps the order in which it was asked for."""
        heapq.heappush(self._due, (moment, next(self._order), action))
        if self._due[0][0] == moment:
            self.clock.wake()

    async def run(self) -> None:
        """Until cancelled. Raises whatever an action raises."""
        while True:
            await self.clock.wait_until(self._due[0][0] if self._due else None)
            async with self._turn:
                self._run_due()

    def _run_due(self) -> None:
        # What an action asks for anew waits for the next round, so that others get their turn.
        moment = self.clock.now()
        actions = []
        while self._due and self._due[0][0] <= moment:
            actions.append(heapq.heappop(self._due)[2])
        for action in actions:
            task = action()
            if task is not None:
                self._underway.add(task)
                task.add_done_callback(self._underway.discard)

    async def advance(self, seconds: float) -> int:
        """Put the clock forward and do on the way everything that falls due, in order; how much that was.

        What is underway ends before the clock moves: it may ask for more on the way.
        """
        async with self._turn:
            await asyncio.gather(*self._underway, return_exceptions=True)
            until, done = self.clock.now() + seconds, 0
            while self._due and self._due[0][0] <= until:
                moment, _, action = heapq.heappop(self._due)
                self.clock.move_to(moment)
                task = action()
                if task is not None:
                    await task
                done += 1
            self.clock.move_to(until)
            return done

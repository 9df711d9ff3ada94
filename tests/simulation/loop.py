"""The event loop: its time is virtual, and which of the ready things runs next is drawn.

Nothing waits: when nothing is ready, time jumps to the next timer. Every callback belongs to a host (a process of the
product) or to nobody (the world). A host that is dead never runs again, not even its `finally` blocks, as it is with
SIGKILL; one that is frozen runs later and does not know.
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

HOST: Final[ContextVar["Host | None"]] = ContextVar("simulated_host", default=None)
INSTANT_STEPS_MAX: Final = 200_000
"""So many steps without time going on: something spins."""


class Stuck(Exception):
    """Nothing will ever happen any more, or time does not go on."""


class Host:
    """A process, as far as the loop is concerned."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.steps = 0
        self.fuse: int | None = None
        """So many steps more and `burnt` is called."""
        self.burnt: Callable[[], None] = lambda: None
        self.held: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Future[Any]] = []
        """Kept, or the collector would run the `finally` blocks of the dead."""
        self.context = copy_context()
        self.context.run(HOST.set, self)

    def fresh_context(self) -> Context:
        """A context of this host's, for a task that begins here."""
        return self.context.copy()


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs callbacks in an order that is drawn, in virtual time. There are no sockets and no threads."""

    def __init__(self, order: random.Random) -> None:
        super().__init__()
        self._now = 0.0
        self._order = order
        self._instant_steps = 0
        self.steps = 0
        self.outside = copy_context()

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> asyncio.Task[Any]:
        """As ever; a host keeps its tasks."""
        task = super().create_task(coro, name=name, context=context)
        host = (context or copy_context()).get(HOST)
        if host is not None:
            host.tasks.append(task)
            if len(host.tasks) % 2000 == 0:
                host.tasks = [one for one in host.tasks if not one.done()]
        return task

    def spawn(self, work: Coroutine[Any, Any, Any] | Generator[Any, None, Any], host: Host | None) -> Any:
        """A task of a host's, or of the world."""
        context = self.outside.copy() if host is None else host.fresh_context()
        return self.create_task(work, context=context)

    def kill(self, host: Host) -> None:
        """It runs no more."""
        host.alive = False
        host.held.clear()

    def thaw(self, host: Host) -> None:
        """It goes on with everything that has come meanwhile."""
        host.frozen = False
        self._ready.extend(host.held)  # type: ignore[attr-defined]
        host.held = []

    def _run_once(self) -> None:
        ready, timers = self._ready, self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise Stuck("nothing is left to happen")
            if timers[0]._when > self._now:
                self._now, self._instant_steps = timers[0]._when, 0
        while timers and timers[0]._when <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        if not ready:
            return
        place = int(self._order.random() * len(ready))
        ready[place], ready[-1] = ready[-1], ready[place]
        self._step(ready.pop())

    def _step(self, handle: asyncio.Handle) -> None:
        if handle._cancelled:
            return
        host: Host | None = handle._context.get(HOST)  # type: ignore[attr-defined]
        if host is not None:
            if not host.alive:
                return
            if host.frozen:
                host.held.append(handle)
                return
            host.steps += 1
            if host.fuse is not None:
                host.fuse -= 1
                if host.fuse <= 0:
                    host.fuse = None
                    host.held.append(handle)
                    host.burnt()
                    return
        self.steps += 1
        self._instant_steps += 1
        if self._instant_steps > INSTANT_STEPS_MAX:
            raise Stuck(f"{INSTANT_STEPS_MAX} steps at one moment; next is {handle!r}")
        handle._run()

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who had to be woken."""

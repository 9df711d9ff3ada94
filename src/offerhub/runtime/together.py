"""Asking once for many: questions that come while a lane is busy go together with its next call."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from offerhub.runtime.round_trips import beside

Q = TypeVar("Q")
A = TypeVar("A")


class Together(Generic[Q, A]):
    """Calls `ask` with up to `most` questions at a time, in at most `lanes` calls at once; it answers each in order.

    Nobody waits for others to come: a question alone is asked alone, at once. Another lane opens only when every call
    has been under way for `patience_seconds`, so that one call which is held up holds up nobody else.
    """

    def __init__(
        self,
        ask: Callable[[list[Q]], Awaitable[Sequence[A]]],
        *,
        lanes: int,
        most: int,
        patience_seconds: float = 0.0,
    ) -> None:
        self._ask = ask
        self._lanes = lanes
        self._most = most
        self._patience_seconds = patience_seconds
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self._begun_at = 0.0
        """When the last of the calls under way began."""
        self._look_again: asyncio.TimerHandle | None = None

    async def ask(self, question: Q) -> A:
        """The answer to a question. Raises what the call raised that held it."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        self._open_lane()
        return await answer

    def _open_lane(self) -> None:
        """Begin another call when there may be one; otherwise look again once there may."""
        if len(self._working) >= self._lanes or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        wait_seconds = self._begun_at + self._patience_seconds - loop.time() if self._working else 0.0
        if wait_seconds <= 0:
            self._begun_at = loop.time()
            task = loop.create_task(self._work(), context=beside())
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        elif self._look_again is None:
            self._look_again = loop.call_later(wait_seconds, self._look)

    def _look(self) -> None:
        self._look_again = None
        self._open_lane()

    async def _work(self) -> None:
        try:
            await self._empty()
        finally:
            # In the very step in which nothing was left to ask: whoever comes next begins anew, and waits for nobody.
            if (task := asyncio.current_task()) is not None:
                self._working.discard(task)

    async def _empty(self) -> None:
        while self._waiting:
            asked = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            self._begun_at = asyncio.get_running_loop().time()
            try:
                found = await self._ask([question for question, _ in asked])
            except BaseException as error:
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            for (_, answer), told in zip(asked, found, strict=True):
                if not answer.done():
                    answer.set_result(told)

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

    Nobody waits for others to come: a question alone is asked alone, at once.
    """

    def __init__(self, ask: Callable[[list[Q]], Awaitable[Sequence[A]]], *, lanes: int, most: int) -> None:
        self._ask = ask
        self._lanes = lanes
        self._most = most
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._working: set[asyncio.Task[None]] = set()

    async def ask(self, question: Q) -> A:
        """The answer to a question. Raises what the call raised that held it."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if len(self._working) < self._lanes:
            task = asyncio.create_task(self._work(), context=beside())
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return await answer

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

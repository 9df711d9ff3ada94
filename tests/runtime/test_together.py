"""Asking once for many: nobody waits for company, everybody gets their own answer, and a failure is everybody's."""

import asyncio

import pytest

from offerhub.runtime.together import Together
from support.outside import PATIENCE_SECONDS


class Slow:
    """What is asked, call by call; it answers when it is let."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.let = asyncio.Event()
        self.fails_with: Exception | None = None

    async def ask(self, questions: list[int]) -> list[int]:
        self.calls.append(questions)
        await self.let.wait()
        if self.fails_with is not None:
            raise self.fails_with
        return [question * 10 for question in questions]


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_comes_while_the_lanes_are_busy_goes_together() -> None:
    slow = Slow()
    together: Together[int, int] = Together(slow.ask, lanes=2, most=3)
    asking = []
    for number in range(8):
        asking.append(asyncio.create_task(together.ask(number)))
        await settle()
    assert slow.calls == [[0], [1]], "the first are asked at once, alone"
    slow.let.set()
    assert await asyncio.gather(*asking) == [number * 10 for number in range(8)]
    assert slow.calls == [[0], [1], [2, 3, 4], [5, 6, 7]]


async def test_another_lane_opens_only_beside_calls_that_take_long() -> None:
    slow = Slow()
    together: Together[int, int] = Together(slow.ask, lanes=3, most=9, patience_seconds=0.02)
    asking = [asyncio.create_task(together.ask(0))]
    await settle()
    asking += [asyncio.create_task(together.ask(number)) for number in (1, 2)]
    await settle()
    assert slow.calls == [[0]]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(slow.calls) == 1:
            await asyncio.sleep(0.005)
    assert slow.calls == [[0], [1, 2]], "nobody else came, and it opened all the same"
    asking += [asyncio.create_task(together.ask(number)) for number in (3, 4)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(slow.calls) == 2:
            await asyncio.sleep(0.005)
    asking.append(asyncio.create_task(together.ask(5)))
    await asyncio.sleep(0.05)
    assert slow.calls == [[0], [1, 2], [3, 4]], "there are no more lanes"
    slow.let.set()
    assert await asyncio.gather(*asking) == [number * 10 for number in range(6)]
    assert slow.calls[3:] == [[5]]


async def test_a_failure_is_told_to_those_who_were_in_it() -> None:
    slow = Slow()
    together: Together[int, int] = Together(slow.ask, lanes=1, most=9)
    slow.fails_with = OSError("gone")
    first = asyncio.create_task(together.ask(1))
    await settle()
    others = [asyncio.create_task(together.ask(number)) for number in (2, 3)]
    slow.let.set()
    with pytest.raises(OSError, match="gone"):
        await first
    assert all(isinstance(one, OSError) for one in await asyncio.gather(*others, return_exceptions=True))
    slow.fails_with = None
    assert await together.ask(4) == 40


async def test_one_who_leaves_does_not_disturb_the_others() -> None:
    slow = Slow()
    together: Together[int, int] = Together(slow.ask, lanes=1, most=9)
    first = asyncio.create_task(together.ask(1))
    await settle()
    leaving, staying = asyncio.create_task(together.ask(2)), asyncio.create_task(together.ask(3))
    await settle()
    leaving.cancel()
    slow.let.set()
    assert (await first, await staying) == (10, 30)
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_one_who_asks_again_the_moment_an_answer_is_there_is_answered() -> None:
    """Then the lane has nothing left to ask, and its task is not over in the eyes of the loop."""
    slow = Slow()
    slow.let.set()
    together: Together[int, int] = Together(slow.ask, lanes=1, most=9)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert [await together.ask(number) for number in range(3)] == [0, 10, 20]

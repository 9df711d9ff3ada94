"""The bulkhead: how many are inside, who goes first, and that no place is ever lost."""

import asyncio
import contextlib

import pytest

from offerhub.runtime.bulkhead import Bulkhead, NoPlace
from offerhub.runtime.urgency import Urgency

CRITICAL, ORDINARY = Urgency.CRITICAL, Urgency.ORDINARY
LONG = 30.0


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Guests:
    """Who is inside, and the order in which they came in."""

    def __init__(self, bulkhead: Bulkhead) -> None:
        self.bulkhead = bulkhead
        self.inside: list[str] = []
        self._doors: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, urgency: Urgency) -> None:
        async def stay() -> None:
            async with self.bulkhead.place(urgency, LONG):
                self.inside.append(name)
                await self._doors[name].wait()

        self._doors[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(stay())
        await settled()

    async def leave(self, name: str) -> None:
        self._doors[name].set()
        await self._tasks[name]
        await settled()

    async def give_up(self, name: str) -> None:
        self._tasks[name].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._tasks[name]
        await settled()


async def test_a_share_is_kept_for_critical_calls() -> None:
    guests = Guests(Bulkhead(places=3, reserved=1))
    for name in ("a", "b", "c"):
        await guests.come(name, ORDINARY)
    assert guests.inside == ["a", "b"]
    await guests.come("urgent", CRITICAL)
    assert guests.inside == ["a", "b", "urgent"]
    await guests.leave("urgent")
    assert "c" not in guests.inside
    await guests.leave("a")
    assert guests.inside[-1] == "c"
    for name in ("b", "c"):
        await guests.leave(name)
    assert (guests.bulkhead.taken, guests.bulkhead.waiting) == (0, 0)


async def test_critical_calls_go_first_and_each_kind_in_order() -> None:
    guests = Guests(Bulkhead(places=1, reserved=0))
    await guests.come("first", ORDINARY)
    for name, urgency in (("o1", ORDINARY), ("o2", ORDINARY), ("c1", CRITICAL), ("c2", CRITICAL)):
        await guests.come(name, urgency)
    for name in ("first", "c1", "c2", "o1", "o2"):
        await guests.leave(name)
    assert guests.inside == ["first", "c1", "c2", "o1", "o2"]


async def test_waiting_is_bounded_and_loses_no_place() -> None:
    bulkhead = Bulkhead(places=1, reserved=0)
    async with bulkhead.place(ORDINARY, LONG):
        with pytest.raises(NoPlace):
            async with bulkhead.place(CRITICAL, 0.01):
                pass
        assert bulkhead.waiting == 0
    async with bulkhead.place(ORDINARY, 0.0):
        assert bulkhead.taken == 1
    assert bulkhead.taken == 0


async def test_whoever_gives_up_leaves_the_place_to_the_next() -> None:
    guests = Guests(Bulkhead(places=1, reserved=0))
    for name in ("a", "b", "c"):
        await guests.come(name, ORDINARY)
    await guests.give_up("b")
    await guests.leave("a")
    assert guests.inside == ["a", "c"]
    await guests.leave("c")


async def test_a_place_given_in_the_moment_of_giving_up_is_not_lost() -> None:
    bulkhead = Bulkhead(places=1, reserved=0)
    holding = bulkhead.place(ORDINARY, LONG)
    await holding.__aenter__()
    waiting = asyncio.create_task(bulkhead.place(ORDINARY, LONG).__aenter__())
    await settled()
    # The place is given to the waiting task, which is cancelled before it can run.
    await holding.__aexit__(None, None, None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert bulkhead.taken == 0


async def test_a_failure_inside_gives_the_place_back() -> None:
    bulkhead = Bulkhead(places=1, reserved=0)
    with pytest.raises(ZeroDivisionError):
        async with bulkhead.place(ORDINARY, LONG):
            raise ZeroDivisionError
    assert bulkhead.taken == 0

"""What falls due when: an advance passes over nothing, also not over what an action underway asks for."""

import asyncio

from offerhub.kernel.clock import SystemClock
from offerhub.sandbox.clock import WorldClock
from offerhub.sandbox.schedule import Schedule


async def test_what_is_underway_ends_before_the_clock_moves() -> None:
    schedule = Schedule(WorldClock(SystemClock()))
    begun, answered = asyncio.Event(), asyncio.Event()
    done = []

    async def attempt() -> None:
        begun.set()
        await answered.wait()
        schedule.at(schedule.clock.now() + 5, lambda: done.append("again"))

    schedule.at(schedule.clock.now(), lambda: asyncio.create_task(attempt()))
    running = asyncio.create_task(schedule.run())
    await begun.wait()
    advancing = asyncio.create_task(schedule.advance(60))
    await asyncio.sleep(0)
    answered.set()
    assert await advancing == 1
    assert done == ["again"]
    running.cancel()

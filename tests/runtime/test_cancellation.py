"""A task that has been told to end ends, although a library dropped the telling (as `asyncio.wait_for` may)."""

import asyncio

import pytest

from offerhub.runtime import cancellation
from offerhub.runtime.cancellation import end, heed_cancellation


async def _asked_of_a_driver() -> None:
    """A call whose answer arrives together with the cancellation, which is lost."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        return


async def test_a_loop_that_heeds_ends_at_its_next_turn() -> None:
    async def forever() -> None:
        while True:
            await _asked_of_a_driver()
            heed_cancellation()
            await asyncio.sleep(3600)

    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()


async def test_one_that_goes_on_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "AGAIN_SECONDS", 0.01)

    async def deaf_once() -> None:
        await _asked_of_a_driver()
        await asyncio.sleep(3600)

    tasks = [asyncio.create_task(deaf_once()) for _ in range(3)]
    await asyncio.sleep(0)
    await end(*tasks)
    assert [task.cancelled() for task in tasks] == [True] * 3


async def test_however_a_task_ends_it_is_only_waited_for() -> None:
    async def fail() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError("on the way out")

    done, failing = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fail())
    await asyncio.sleep(0)
    await end(done, failing)
    assert isinstance(failing.exception(), ValueError)
    await end()

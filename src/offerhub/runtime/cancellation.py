"""Tasks that end when they are told to, also where a library drops the telling."""

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 5.0
"""Long enough for a task to put away what it holds, so that the second telling does not disturb it in that."""


def heed_cancellation() -> None:
    """Raise CancelledError when this task has been cancelled and a library has swallowed it.

    A loop that runs until it is cancelled calls this once a turn: on Python 3.11 `asyncio.wait_for`, which drivers
    use inside, may drop a cancellation that arrives together with its result.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and return once all of them have ended, however they did; one that goes on is told again."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)

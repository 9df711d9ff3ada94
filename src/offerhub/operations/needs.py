"""When a queue needs somebody: the thresholds of the health check and of `offerhub queues --check`."""

from collections.abc import Iterator
from typing import Final

BACKLOG_MAX: Final = 1_000
"""More waiting jobs than this ask for a worker more."""
DEAD_LETTERS_MAX: Final = 100
"""More dead letters than this ask for a person."""


def needs(*, waiting: int, dead_letters: int, workers: int | None, paused: bool) -> Iterator[str]:
    """What a queue needs, in words that follow "needs". `waiting` are jobs that could run, handed over or not.

    `workers` is None where Redis does not tell.
    """
    if waiting > BACKLOG_MAX:
        yield "another worker"
    if dead_letters > DEAD_LETTERS_MAX:
        yield "a look at its dead letters"
    if workers == 0:
        yield "a worker"
    if paused:
        yield "to be resumed"

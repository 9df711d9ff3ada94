"""Everything that is drawn comes from one seed: the order of events, the faults, the work, the product's chance.

The ranges are those of reliability.md 2.14; each seed draws its own rates within them, so that some worlds lose a
third of everything and others nearly nothing.
"""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

LOST_MAX: Final = 0.30
"""Outside calls that are lost, before or after their effect."""
REPLAYED_MAX: Final = 0.50
"""Outside calls that arrive a second time, later."""
DELAY_SECONDS_MAX: Final = 0.1
STALL_SECONDS_MAX: Final = 5.0
STALLED_MAX: Final = 0.05
QUEUE_LOST_MAX: Final = 0.30
"""Jobs that the queue forgets; it also doubles and reorders them."""
LIFE_SECONDS: Final = (2.0, 14.0)
"""How long a process lives on average before it dies, in the safety phase."""
DISCONNECTED_MAX: Final = 0.004
"""Statements at which the connection to the database is lost, before or after them."""
FREEZES: Final = ((0.1, 4.0), (8.0, 16.0), (8.0, 16.0))
"""How long a process stands still: two times in three so long that others have taken its work over and done it."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What one seed has drawn."""

    lost: float
    replayed: float
    stalled: float
    jobs_lost: float
    jobs_doubled: float
    disconnected: float
    life_seconds: float
    frozen: float
    """The part of crashes that are freezes instead: the process goes on later, and does not know."""

    @classmethod
    def draw(cls, drawn: random.Random) -> "Rates":
        """The rates of a seed."""
        return cls(
            lost=drawn.uniform(0.0, LOST_MAX),
            replayed=drawn.uniform(0.0, REPLAYED_MAX),
            stalled=drawn.uniform(0.0, STALLED_MAX),
            jobs_lost=drawn.uniform(0.0, QUEUE_LOST_MAX),
            jobs_doubled=drawn.uniform(0.0, REPLAYED_MAX),
            disconnected=drawn.uniform(0.0, DISCONNECTED_MAX),
            life_seconds=drawn.uniform(*LIFE_SECONDS),
            frozen=drawn.uniform(0.3, 0.8),
        )


class Chance:
    """The streams of one seed; apart, so that a change in one leaves the others what they were."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.order = random.Random(f"{seed}:order")
        self.faults = random.Random(f"{seed}:faults")
        self.work = random.Random(f"{seed}:work")
        self.own = random.Random(f"{seed}:own")
        self.rates = Rates.draw(random.Random(f"{seed}:rates"))

    def plant(self, now: Callable[[], float]) -> None:
        """Give this interpreter the seed's chance and time, for good: ids, keys, nonces, jitter, bounds of envelopes.

        The one place where something is replaced from outside. Everything else is handed in where the product is put
        together; these few are what the standard library reads by itself, for us and for the libraries that we use.
        """
        drawn = self.own

        def urandom(size: int) -> bytes:
            return drawn.randbytes(size)

        os.urandom = urandom
        random._urandom = urandom  # type: ignore[attr-defined]
        random.seed(f"{self.seed}:jitter")
        time.time = now
        time.time_ns = lambda: int(now() * 1_000_000_000)
        os.getpid = lambda: 1

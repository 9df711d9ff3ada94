"""Chance that needs no secrecy: jitter. Whatever must not be guessed comes from the module `secrets`."""

import random


def jitter(seconds: float, spread: float = 0.5) -> float:
    """A delay of this long, give or take `spread` of it, so that those who failed together do not meet again."""
    return seconds * random.uniform(1 - spread, 1 + spread)

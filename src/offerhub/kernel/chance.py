"""Chance that needs no secrecy: jitter. Whatever must not be guessed comes from the module `secrets`."""

import random


def jitter(seconds: float) -> float:
    """A delay from half to one and a half times this long, so that those who failed together do not meet again."""
    return seconds * random.uniform(0.5, 1.5)

"""How urgent the calls to the outside are that a piece of work makes.

The urgency belongs to the work, not to the call: reading an account is urgent in a saga and ordinary on a page. It is
therefore said once, around the work, and found again by the line that carries the call.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from enum import Enum


class Urgency(Enum):
    """`CRITICAL` work has money on its way, and finds places and budget kept free for it. `PROBE` only looks whether
    a provider answers: it is never repeated, and neither stopped nor counted by the breaker.
    """

    CRITICAL = "critical"
    ORDINARY = "ordinary"
    PROBE = "probe"


_current: ContextVar[Urgency] = ContextVar("urgency", default=Urgency.ORDINARY)


def current() -> Urgency:
    """The urgency of the work that is being done."""
    return _current.get()


@contextlib.contextmanager
def working(urgency: Urgency) -> Iterator[None]:
    """Give the work of the block this urgency, and the tasks that it starts."""
    token = _current.set(urgency)
    try:
        yield
    finally:
        _current.reset(token)

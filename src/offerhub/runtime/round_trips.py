"""How often a request asks PostgreSQL and Redis: what makes it fast, and the first thing to grow unseen.

Each request counts its own round trips. Where several are asked about in one call, each counts that call. What goes
on beside a request, such as the saga that it has begun, is not the request's.
"""

from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class RoundTrips:
    """What one request has asked so far: SQL statements, BEGIN and COMMIT included, and calls to Redis."""

    sql: int = 0
    redis: int = 0


_current: Final[ContextVar[RoundTrips | None]] = ContextVar("round_trips", default=None)


class counting:  # noqa: N801 - a context manager, which as a class costs each request half
    """Count what is asked inside."""

    __slots__ = ("_token",)

    def __enter__(self) -> RoundTrips:
        trips = RoundTrips()
        self._token = _current.set(trips)
        return trips

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def note_sql() -> None:
    """A statement is sent."""
    trips = _current.get()
    if trips is not None:
        trips.sql += 1


def note_redis() -> None:
    """Redis is asked."""
    trips = _current.get()
    if trips is not None:
        trips.redis += 1


def beside() -> Context:
    """The context for a task that a request starts and that is not its own: nothing in it counts."""
    context = copy_context()
    context.run(_current.set, None)
    return context

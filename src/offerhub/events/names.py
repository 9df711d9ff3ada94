"""The names of all events (contract 6.2), and the patterns that choose among them."""

from collections.abc import Iterable
from typing import Final

from offerhub.errors import invalid_field
from offerhub.events.payloads import KINDS

NAMES: Final = tuple(kind.name for kind in KINDS)


def chosen_by(pattern: str) -> set[str]:
    """The names that one pattern chooses; none for a pattern that is none."""
    head, star, tail = pattern.partition("*")
    if not star:
        return {pattern} & set(NAMES)
    long = len(head) + len(tail)
    return {name for name in NAMES if name.startswith(head) and name.endswith(tail) and len(name) >= long}


def matching(patterns: Iterable[str], field: str = "types") -> frozenset[str]:
    """The names that a list of patterns chooses: `order.created`, `order.*`, `*.failed`, `*`.

    Raises ValidationFailed, naming `field`, for a pattern that chooses none: a misspelling is not taken for silence.

    >>> sorted(matching(["dispute.*", "order.closed"]))
    ['dispute.opened', 'dispute.resolved', 'dispute.under_review', 'order.closed']
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = chosen_by(pattern)
        if not found:
            raise invalid_field(field, f"{field}: no event is called {pattern[:60]!r}")
        chosen |= found
    return frozenset(chosen)

"""Pages: a limit, a cursor that names the last item seen, and whether there is more (contract 1.7)."""

from dataclasses import dataclass
from typing import Any, Final

LIMIT_DEFAULT: Final = 20
LIMIT_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Page:
    """One page of items, newest first. `next_cursor` is the last item's id, or None at the end.

    A log, which goes on where it ends now, has a cursor there too: `more` tells whether another page follows yet.
    """

    items: list[Any]
    next_cursor: str | None
    more: bool | None = None

    @property
    def has_more(self) -> bool:
        """True when another page follows."""
        return self.next_cursor is not None if self.more is None else self.more


def page(rows: list[Any], limit: int) -> Page:
    """Cut a page out of `limit + 1` fetched rows; every row is a mapping with an `id`."""
    items = rows[:limit]
    return Page(items, items[-1]["id"] if len(rows) > limit else None)

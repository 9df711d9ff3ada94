"""What a check of the books is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """A sentence that must hold, and the query that returns a row for each case where it does not."""

    invariant: str
    sentence: str
    sql: str

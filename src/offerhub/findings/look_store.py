"""All SQL of looks at places where money is."""

from datetime import datetime
from typing import NamedTuple

from offerhub.runtime.database import Tx


class Look(NamedTuple):
    """The last look at a place; amounts in units."""

    verdict: str
    books: int
    outside: int
    looked_at: datetime


class Noted(NamedTuple):
    """What a look has shown, about what."""

    kind: str
    subject_id: str
    verdict: str
    books: int
    outside: int


async def known(tx: Tx, kind: str, subject_id: str) -> int:
    """The difference with which a person last resolved a finding of this kind and subject, in units; 0 if none."""
    units: int | None = await tx.value(
        """
        SELECT amount FROM findings
        WHERE kind = $1 AND subject_id = $2 AND status = 'RESOLVED' AND resolved_by NOT LIKE 'system:%'
        ORDER BY resolved_at DESC LIMIT 1
        """,
        kind,
        subject_id,
    )
    return units or 0


async def last(tx: Tx, kind: str, subject_id: str) -> Look | None:
    """The last look, which nobody else replaces until the transaction ends."""
    row = await tx.row(
        """
        SELECT verdict, books, outside, looked_at FROM total_looks WHERE kind = $1 AND subject_id = $2 FOR UPDATE
        """,
        kind,
        subject_id,
    )
    return None if row is None else Look(**dict(row))


async def note(tx: Tx, seen: Noted, is_first: bool) -> datetime:
    """This is the last look now; returns its moment."""
    moment: datetime = await tx.value(
        """
        INSERT INTO total_looks (kind, subject_id, verdict, books, outside, is_first) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (kind, subject_id) DO UPDATE SET verdict = excluded.verdict, books = excluded.books,
            outside = excluded.outside, is_first = excluded.is_first, looked_at = excluded.looked_at
        RETURNING looked_at
        """,
        seen.kind,
        seen.subject_id,
        seen.verdict,
        seen.books,
        seen.outside,
        is_first,
    )
    return moment

"""Reading rows by their keys: one statement for all who ask while the one before it is under way."""

from collections.abc import Sequence
from typing import Final

from offerhub.runtime.database import Database, Row
from offerhub.runtime.round_trips import note_sql
from offerhub.runtime.together import Together

LANES: Final = 2
TOGETHER_MAX: Final = 64


class Lookups:
    """Looks up rows by keys of one or more texts.

    `sql` takes an array for each part of a key, and returns a row for each key that there is, whose `number` is the
    key's place in the arrays, from 1. What it reads was committed before anybody asked, or later.
    """

    def __init__(self, database: Database, sql: str) -> None:
        self._database = database
        self._sql = sql
        self._together: Together[tuple[str, ...], Row | None] = Together(self._rows, lanes=LANES, most=TOGETHER_MAX)

    async def find(self, *key: str) -> Row | None:
        """The row, or None. Raises what the database raises when it cannot be used."""
        note_sql()
        return await self._together.ask(key)

    async def _rows(self, keys: list[tuple[str, ...]]) -> Sequence[Row | None]:
        parts = [list(part) for part in zip(*keys, strict=True)]
        rows = await self._database.run(lambda tx: tx.rows(self._sql, *parts), read_only=True)
        found: list[Row | None] = [None] * len(keys)
        for row in rows:
            found[row["number"] - 1] = row
        return found

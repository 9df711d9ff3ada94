"""Where an invariant is tried: on a history that is true, in transactions that are never committed."""

import contextlib
from dataclasses import dataclass

import asyncpg

from offerhub.operations.proof import look
from offerhub.runtime.database import Database, Tx
from support.damage import WITHOUT_GUARDS


class Undone(Exception):
    """What was tried is rolled back."""


@dataclass(frozen=True)
class Stand:
    """A database with a truthful history."""

    database: Database

    async def refusal_of(self, sql: str) -> str:
        """The guard that refuses this, by its name or code; fails when nothing does. With the product's rights."""

        async def attempt(tx: Tx) -> None:
            await tx.execute(sql)
            await tx.execute("SET CONSTRAINTS ALL IMMEDIATE")
            raise Undone

        try:
            await self.database.run(attempt)
        except asyncpg.PostgresError as refused:
            return refused.constraint_name or refused.sqlstate or ""
        except Undone:
            pass
        raise AssertionError(f"nothing refused: {sql}")

    async def found_after(self, sql: str) -> set[str]:
        """The sentences that the proof says not to hold, once this was done with every guard out of the way."""
        found: set[str] = set()

        async def damage(tx: Tx) -> None:
            await tx.execute(WITHOUT_GUARDS)
            await tx.execute(sql)
            found.update(one.check.sentence for one in await look(tx))
            raise Undone

        with contextlib.suppress(Undone):
            await self.database.run(damage)
        return found

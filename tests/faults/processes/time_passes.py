"""Nobody waits in these tests: what would have to wait for a while has waited."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg

MOMENT_SECONDS: Final = 0.05

_DUE: Final = """
    UPDATE sagas SET next_attempt_at = clock_timestamp()
    WHERE status = 'RUNNING' AND lease_holder IS NULL AND next_attempt_at > clock_timestamp()
"""
_LEASED_BY: Final = """
    UPDATE sagas SET lease_until = '-infinity', next_attempt_at = clock_timestamp()
    WHERE status = 'RUNNING' AND lease_holder LIKE $1
"""
_RUNS: Final = "UPDATE reconciliation_runs SET lease_until = '-infinity' WHERE status = 'RUNNING'"
_LOOKS: Final = """
    WITH topup AS (UPDATE topups SET checked_at = '-infinity' WHERE id = $1)
    UPDATE withdrawals SET checked_at = '-infinity' WHERE id = $1
"""


class Time:
    """Lets time pass, through a connection of its own that no fault meets."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    async def end_leases(self, pid: int) -> None:
        """The dead do not renew what they had leased."""
        async with self._turn:
            await self._connection.execute(_LEASED_BY, f"{pid}:%")
        await self.end_runs()

    async def look_again(self, subject: str) -> None:
        """If Airtm was asked about it, it is the next that Airtm is asked about again."""
        async with self._turn:
            await self._connection.execute(_LOOKS, subject)

    async def end_runs(self) -> None:
        """A run of which nobody knows whether it has begun is renewed by nobody."""
        async with self._turn:
            await self._connection.execute(_RUNS)

    async def pass_on(self) -> None:
        """What is to be tried again later is tried now; until cancelled."""
        while True:
            async with self._turn:
                await self._connection.execute(_DUE)
            await asyncio.sleep(MOMENT_SECONDS)


@contextlib.asynccontextmanager
async def passing_time(database_url: str) -> AsyncIterator[Time]:
    """Let nothing wait for its next attempt while the block runs."""
    connection = await asyncpg.connect(database_url)
    time = Time(connection)
    passing = asyncio.create_task(time.pass_on())
    try:
        yield time
    finally:
        passing.cancel()
        await asyncio.wait([passing])
        await connection.close()

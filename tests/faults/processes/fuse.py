"""Where a process dies, or loses its database: at the n-th statement or call, counted from when the fuse is armed.

A point of a crash is the moment before or after one SQL statement (BEGIN and COMMIT included) or one call to a
provider; there the kernel ends the process (SIGKILL), and nothing of it runs any more. A point of an error is one
statement, with which one of `ERRORS` happens, for real at the server wherever the server can be made to do it.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

import asyncpg

from offerhub.runtime import database

ERRORS: Final = ("lost before", "lost after", "40001", "40P01", "57P01")
"""The connection is lost before the statement is sent, or with its answer (with COMMIT: nobody knows what became of
it); the server gives the transaction up as it does for a conflict or a deadlock; the server ends the session."""

_GIVEN_UP: Final[dict[str, Callable[[], Exception]]] = {
    "40001": lambda: asyncpg.SerializationError("could not serialize access (injected)"),
    "40P01": lambda: asyncpg.DeadlockDetectedError("deadlock detected (injected)"),
}


class Fuse:
    """Counts points while it is armed, and blows at one of them, once."""

    def __init__(self, kill_at: int = 0, error: str = "", error_at: int = 0) -> None:
        """Zero is never."""
        self.is_armed = False
        self.points = 0
        self.statements = 0
        self.blown_at = ""
        self._kill_at = kill_at
        self._error = error
        self._error_at = error_at

    def before(self, name: str) -> None:
        """A statement or a call is about to be sent."""
        self._tick()

    def after(self, name: str) -> None:
        """It has been answered."""
        self._tick()

    def _tick(self) -> None:
        if self.is_armed:
            self.points += 1
            if self.points == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def error(self, sql: str) -> str:
        """Count a statement; the error that happens with it, if any."""
        if not self.is_armed:
            return ""
        self.statements += 1
        if self.statements != self._error_at:
            return ""
        self.blown_at = " ".join(sql.split())[:200]
        return self._error


class Faulty(database._Connection):
    """A connection on which the fuse's error happens."""

    fuse: ClassVar[Fuse]
    end: ClassVar[Callable[[int], Awaitable[None]]]
    """Ends a session of the server, by its process id, and returns once it is gone."""

    async def execute(self, query: str, *args: Any, **more: Any) -> Any:
        """As asyncpg's, with the error."""
        return await self._with_error(query, lambda: super(Faulty, self).execute(query, *args, **more))

    async def fetch(self, query: str, *args: Any, **more: Any) -> Any:
        """As asyncpg's, with the error."""
        return await self._with_error(query, lambda: super(Faulty, self).fetch(query, *args, **more))

    async def fetchrow(self, query: str, *args: Any, **more: Any) -> Any:
        """As asyncpg's, with the error."""
        return await self._with_error(query, lambda: super(Faulty, self).fetchrow(query, *args, **more))

    async def _with_error(self, sql: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        error = self.fuse.error(sql)
        if error in _GIVEN_UP:
            await super().execute("ROLLBACK")
            raise _GIVEN_UP[error]()
        if error == "57P01":
            await Faulty.end(self.get_server_pid())
        if error == "lost before":
            await self._lose()
        found = await ask()
        if error == "lost after":
            await self._lose()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation (injected)")
        return found

    async def _lose(self) -> None:
        self._transport.abort()
        while not self.is_closed():
            await asyncio.sleep(0)

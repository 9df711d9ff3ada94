"""PostgreSQL: one use case is one transaction, retried as a whole when the database says so.

`Database.run(use_case)` opens a transaction, calls `use_case(tx)` and commits. A serialization failure (40001), a
deadlock (40P01) or a schema that has changed under a prepared statement rolls everything back and runs the use case
again: use cases must therefore have no effect outside their transaction, and never wait for the network. The pool
runs no reset query between uses, so only `SET LOCAL` and transaction-level locks are allowed anywhere (a test holds
this).
"""

import asyncio
import contextlib
import functools
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import asyncpg

from offerhub.kernel.chance import jitter
from offerhub.runtime import spans
from offerhub.runtime.round_trips import note_sql

T = TypeVar("T")
Row = asyncpg.Record

RETRY_ATTEMPTS_MAX: Final = 8
RETRY_BASE_SECONDS: Final = 0.005
STATEMENT_TIMEOUT_SECONDS: Final = 30
POOL_SIZE_DEFAULT: Final = 12

_CHANGES: Final = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|LOCK|SHARE|nextval)\b")
_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

UNREACHABLE: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
"""What a use case raises when the database cannot be used; a loop waits and tries again."""


AGAIN: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    # A newer program's migration, or a statement that it has made return something else.
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
"""After these nothing has happened, and the same use case may well succeed."""


class StatementHook(Protocol):
    """Called around every statement, BEGIN and COMMIT included; fault tests crash or raise inside it."""

    def before(self, sql: str) -> None:
        """The statement is about to be sent."""
        ...

    def after(self, sql: str) -> None:
        """The statement has been answered."""
        ...


class Raised(NamedTuple):
    """An error of PostgreSQL: its SQLSTATE, and the facts that a function of ours put into DETAIL as JSON."""

    code: str
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, error: asyncpg.PostgresError) -> "Raised":
        """What an error says."""
        code = str(error.sqlstate)
        detail = getattr(error, "detail", None) if code.startswith("OH") else None
        return cls(code, json.loads(detail) if detail else {})


@functools.lru_cache(maxsize=1024)
def _changes_something(sql: str) -> bool:
    return _CHANGES.search(sql) is not None


class Tx:
    """An open transaction. Valid inside one use case only."""

    __slots__ = ("_connection", "_hook", "_only_reads", "rings")

    def __init__(
        self,
        connection: "asyncpg.pool.PoolConnectionProxy[Row]",
        hook: StatementHook | None,
        *,
        only_reads: bool = False,
    ) -> None:
        self._connection = connection
        self._hook = hook
        self._only_reads = only_reads
        self.rings: set[str] = set()
        """What the doorbell is rung for once this transaction has committed."""

    def _before(self, sql: str) -> None:
        if self._only_reads and _changes_something(sql):
            raise ValueError(f"a reading use case may not change anything: {sql[:100]}")
        note_sql()
        if self._hook is not None:
            self._hook.before(sql)

    def _after(self, sql: str) -> None:
        if self._hook is not None:
            self._hook.after(sql)

    async def execute(self, sql: str, *args: Any) -> int:
        """Run a statement; returns the number of rows it touched."""
        self._before(sql)
        status = await self._connection.execute(sql, *args)
        self._after(sql)
        tail = status.rsplit(" ", 1)[-1]
        return int(tail) if tail.isdigit() else 0

    async def rows(self, sql: str, *args: Any, seconds: float | None = None) -> list[Row]:
        """All rows. `seconds` is how long that may take, where it is not the usual time of a statement."""
        self._before(sql)
        found = await self._connection.fetch(sql, *args, timeout=seconds)
        self._after(sql)
        return found

    async def copy(self, sql: str, to: Callable[[bytes], Coroutine[Any, Any, None]], *, seconds: float) -> int:
        """Stream the rows of a query as CSV with a header, piece by piece into `to`; returns how many there were."""
        self._before(sql)
        status = await self._connection.copy_from_query(sql, output=to, format="csv", header=True, timeout=seconds)
        self._after(sql)
        return int(status.rsplit(" ", 1)[-1])

    async def row(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        self._before(sql)
        found = await self._connection.fetchrow(sql, *args)
        self._after(sql)
        return found

    async def one(self, sql: str, *args: Any) -> Row:
        """The one row there must be; raises LookupError otherwise."""
        found = await self.row(sql, *args)
        if found is None:
            raise LookupError(sql)
        return found

    async def value(self, sql: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        found = await self.row(sql, *args)
        return None if found is None else found[0]


class _TracedTx(Tx):
    """One whose statements are spans, where traces are exported."""

    __slots__ = ()

    async def execute(self, sql: str, *args: Any) -> int:
        with spans.statement(sql):
            return await super().execute(sql, *args)

    async def rows(self, sql: str, *args: Any, seconds: float | None = None) -> list[Row]:
        with spans.statement(sql):
            return await super().rows(sql, *args, seconds=seconds)

    async def copy(self, sql: str, to: Callable[[bytes], Coroutine[Any, Any, None]], *, seconds: float) -> int:
        with spans.statement(sql):
            return await super().copy(sql, to, seconds=seconds)

    async def row(self, sql: str, *args: Any) -> Row | None:
        with spans.statement(sql):
            return await super().row(sql, *args)


class _Connection(asyncpg.Connection):
    """A connection without session state, which therefore needs no reset between uses."""

    def get_reset_query(self) -> str:
        return ""


async def _prepare(connection: "asyncpg.Connection[Row]") -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=_encode_json, decoder=json.loads, format="text"
        )


async def _roll_back(connection: "asyncpg.pool.PoolConnectionProxy[Row]") -> None:
    """End a transaction that failed. A connection that cannot even do that must not be used again."""
    try:
        await connection.execute("ROLLBACK")
    except UNREACHABLE:
        # The pool may have taken a cancelled caller's connection back already; then there is nothing to end.
        with contextlib.suppress(asyncpg.InterfaceError):
            connection.terminate()


def _encode_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Database:
    """A pool of connections to one PostgreSQL database."""

    def __init__(self, pool: "asyncpg.Pool[Row]", hook: StatementHook | None = None) -> None:
        self._pool = pool
        self.hook = hook
        # Decided once: a statement costs nothing more where there are no traces.
        self._transaction = Tx if spans.active is None else _TracedTx
        self.committed: Callable[[set[str]], None] | None = None
        """Told what a transaction rings for, right after its commit; must not wait, nor raise."""

    @classmethod
    async def connect(
        cls,
        dsn: str,
        *,
        pool_size: int = POOL_SIZE_DEFAULT,
        hook: StatementHook | None = None,
        name: str = "offerhub",
    ) -> "Database":
        """Open the pool. Raises OSError or asyncpg.PostgresError when the server cannot be used."""
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=pool_size,
            connection_class=_Connection,
            init=_prepare,
            command_timeout=STATEMENT_TIMEOUT_SECONDS,
            server_settings={"application_name": name, "timezone": "UTC"},
        )
        return cls(pool, hook)

    @property
    def connections(self) -> tuple[int, int, int]:
        """How many there are, how many of them are idle, and how many there may be."""
        return self._pool.get_size(), self._pool.get_idle_size(), self._pool.get_max_size()

    async def close(self) -> None:
        """Give back every connection."""
        await self._pool.close()

    async def run(
        self, use_case: Callable[[Tx], Awaitable[T]], *, read_only: bool = False, begin: str = "BEGIN"
    ) -> T:
        """Run a use case in one transaction, again from the start after one of `AGAIN`.

        `begin` may have statements behind BEGIN that go with it in one round trip; what they answer is not read.

        A reading one may change nothing, and needs no transaction around it: at READ COMMITTED each of its statements
        looks anew anyway. Where they must agree with each other, there is `snapshot`.
        """
        return await self._retried(lambda: self._reading(use_case) if read_only else self._once(begin, use_case))

    async def snapshot(self, use_case: Callable[[Tx], Awaitable[T]], *, of: str | None = None) -> T:
        """Run a reading use case on one consistent snapshot of the whole database.

        `of` is the name of another transaction's snapshot, which that one has exported and keeps open meanwhile.
        """
        if of is None:
            return await self._retried(lambda: self._once(_SNAPSHOT, use_case))

        async def shared(tx: Tx) -> T:
            await tx.execute(f"SET TRANSACTION SNAPSHOT '{of}'")
            return await use_case(tx)

        return await self._once(_SNAPSHOT, shared)

    async def statement(self, sql: str, *args: Any, rings: set[str]) -> list[Row]:
        """Run one statement that is a transaction by itself; again after one of `AGAIN`. Then ring the doorbell."""
        rows = await self._retried(lambda: self._alone(sql, args))
        if rings and self.committed is not None:
            self.committed(rings)
        return rows

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for tried in range(RETRY_ATTEMPTS_MAX):
            try:
                return await attempt()
            except AGAIN:
                if tried == RETRY_ATTEMPTS_MAX - 1:
                    raise
                await asyncio.sleep(jitter(RETRY_BASE_SECONDS * 2**tried))
        raise AssertionError("unreachable")

    async def _alone(self, sql: str, args: tuple[Any, ...]) -> list[Row]:
        async with self._pool.acquire() as connection:
            return await self._transaction(connection, self.hook).rows(sql, *args)

    async def _reading(self, use_case: Callable[[Tx], Awaitable[T]]) -> T:
        async with self._pool.acquire() as connection:
            return await use_case(self._transaction(connection, self.hook, only_reads=True))

    async def _once(self, begin: str, use_case: Callable[[Tx], Awaitable[T]]) -> T:
        async with self._pool.acquire() as connection:
            tx = self._transaction(connection, self.hook)
            try:
                await tx.execute(begin)
                result = await use_case(tx)
            except BaseException:
                note_sql()
                await asyncio.shield(_roll_back(connection))
                raise
            await tx.execute("COMMIT")
            if tx.rings and self.committed is not None:
                self.committed(tx.rings)
            return result

    async def script(self, sql: str) -> None:
        """Run a script of several statements outside a use case. The service itself has none: for tests and tools."""
        async with self._pool.acquire() as connection:
            await connection.execute(sql)

"""PostgreSQL, real, with the simulation's time, one statement at a time.

Everything stands still while a statement runs, so nothing depends on how fast the server is. Transactions of several
processes are open at once all the same: between two statements anything may happen, and which runs next is drawn. A
statement that would wait for another's lock comes back at once (`lock_timeout`), is taken back to a savepoint, and is
run again when some transaction has ended, as if it had waited. When all wait, one has lost: 40P01, as ever.

Time in SQL is the simulation's: a schema `sim`, searched before pg_catalog, has functions of the clock's names, which
read a setting that every transaction begins with. The server is the simulation's own: no autovacuum, nobody else.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg

from offerhub.runtime.database import Database
from offerhub.runtime.embedded import embedded_services
from offerhub.runtime.migrations import migrate
from simulation.chance import Chance
from simulation.clock import EPOCH, SimulatedClock
from simulation.loop import Host, SimulatedLoop
from simulation.trace import Trace

T = TypeVar("T")

TEMPLATE: Final = "simulation"
PROCESS_CONNECTIONS: Final = 10
STATEMENT_SECONDS_MAX: Final = 0.003
_CLOCKS: Final = {
    "now": ("sim.now", "STABLE"),
    "transaction_timestamp": ("sim.now", "STABLE"),
    "statement_timestamp": ("sim.clock", "STABLE"),
    "clock_timestamp": ("sim.clock", "VOLATILE"),
}


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL of our own with the schema in a template; yields the URL of its maintenance database."""
    folder = Path(tempfile.mkdtemp(prefix="offerhub-simulation-"))
    folder.chmod(0o711)
    try:
        with embedded_services(folder, durable=False, want_redis=False) as urls:
            asyncio.run(_prepare(urls.database_url))
            yield urls.database_url
    finally:
        shutil.rmtree((folder / "services").resolve(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


async def _prepare(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER SYSTEM SET autovacuum = off")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute(f"CREATE DATABASE {TEMPLATE}")
    for name in ("sim.now", "sim.clock"):
        await connection.execute(f"ALTER ROLE CURRENT_USER SET {name} = '{EPOCH.isoformat()}'")
    await connection.execute("ALTER ROLE CURRENT_USER SET search_path = public, sim, pg_catalog")
    inside = await asyncpg.connect(_at(url, TEMPLATE))
    await inside.execute("CREATE SCHEMA sim")
    for name, (setting, kind) in _CLOCKS.items():
        await inside.execute(
            f"CREATE FUNCTION sim.{name}() RETURNS timestamptz LANGUAGE sql {kind} "
            f"RETURN pg_catalog.current_setting('{setting}')::timestamptz"
        )
    await inside.close()
    await migrate(_at(url, TEMPLATE))
    await connection.execute("ALTER ROLE CURRENT_USER SET lock_timeout = '1ms'")
    await connection.close()


def _at(url: str, name: str) -> str:
    base, _, rest = url.rpartition("/")
    return f"{base}/{name}?{rest.partition('?')[2]}"


@dataclass(eq=False)
class _Open:
    """A physical connection and what is open on it."""

    raw: Any
    told: float = -1.0
    is_open: bool = False
    writes: bool = False
    parked: bool = False
    lost: bool = False
    """The process has lost it; the server knows that already."""


class Wire:
    """All connections of all processes to one database."""

    def __init__(self, url: str, loop: SimulatedLoop, chance: Chance, trace: Trace) -> None:
        self._url = url
        self._loop = loop
        self._clock = SimulatedClock(loop)
        self._chance = chance
        self._trace = trace
        self._real = asyncio.new_event_loop()
        self._pool: Any = None
        self.is_calm = True
        self._free: list[_Open] = []
        self._taken: dict[_Open, Host | None] = {}
        self._ended = asyncio.Event()

    def connect(self, name: str) -> None:
        """Make the seed's database and open connections to it; before the seed's chance is planted."""

        async def begin() -> None:
            maintenance = await asyncpg.connect(self._url)
            await maintenance.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await maintenance.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
            await maintenance.close()
            self._pool = (await Database.connect(_at(self._url, name), pool_size=60))._pool
            self._free = [_Open(await self._pool.acquire()) for _ in range(48)]

        self._real.run_until_complete(begin())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the real loop while the simulated one stands still."""
        task = asyncio.current_task(self._loop)
        running = asyncio._get_running_loop()
        if task is not None:
            asyncio.tasks._leave_task(self._loop, task)
        asyncio._set_running_loop(None)
        try:
            return self._real.run_until_complete(work)
        finally:
            asyncio._set_running_loop(running)
            if task is not None:
                asyncio.tasks._enter_task(self._loop, task)

    # -- what a process sees ---------------------------------------------------------------------------------

    def database(self, host: Host | None) -> Database:
        """The product's own Database, on connections of this wire."""
        return Database(SimulatedPool(self, host))  # type: ignore[arg-type]

    def take(self, host: Host | None) -> _Open:
        """A connection for this host."""
        taken = self._free.pop()
        taken.lost = False
        self._taken[taken] = host
        return taken

    def give_back(self, one: _Open) -> None:
        """Whatever is open on it is rolled back, as the server does when a connection is lost."""
        if one not in self._taken:
            return
        del self._taken[one]
        if one.is_open:
            self.do(one.raw.execute("ROLLBACK"))
            self._end(one)
        self._free.append(one)

    def abandon(self, host: Host) -> None:
        """The process is gone, and its connections with it."""
        for one in [one for one, whose in self._taken.items() if whose is host]:
            self.give_back(one)

    async def pause(self) -> None:
        """A statement takes its time; anything may happen meanwhile."""
        await asyncio.sleep(0)

    async def travel(self) -> None:
        """A transaction begins: a little time goes by."""
        await asyncio.sleep(self._chance.order.random() * STATEMENT_SECONDS_MAX)

    async def run(self, one: _Open, host: Host | None, how: str, sql: str, args: tuple[Any, ...]) -> Any:
        """One statement, its locks waited for; the connection may be lost before it or after it, COMMIT included."""
        verb = sql.split(None, 1)[0].rstrip(";")
        loss = self._loss(host)
        if verb == "BEGIN":
            await self.travel()
        else:
            await self.pause()
        if one.lost:
            raise asyncpg.InterfaceError("connection is closed")
        if loss == "before":
            self._lose(one, host)
        while True:
            guarded = self._guard(one, verb)
            try:
                found = self._perform(one, host, how, verb, sql, args)
                break
            except asyncpg.LockNotAvailableError as error:
                if not guarded:
                    raise asyncpg.DeadlockDetectedError("a lock could not be had") from error
                await self._park(one)
        await self.pause()
        if loss == "after":
            self._lose(one, host)
        return found

    def _loss(self, host: Host | None) -> str:
        drawn, rates = self._chance.faults, self._chance.rates
        if self.is_calm or host is None or drawn.random() >= rates.disconnected:
            return ""
        return drawn.choice(("before", "after"))

    def _lose(self, one: _Open, host: Host | None) -> None:
        """Raises ConnectionDoesNotExistError; what is open on it is rolled back."""
        one.lost = True
        if one.is_open:
            self.do(one.raw.execute("ROLLBACK"))
            self._end(one)
        self._trace.add(self._loop.time(), "world" if host is None else host.name, "connection lost")
        self._trace.count("connections lost")
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    def _guard(self, one: _Open, verb: str) -> bool:
        """A savepoint, when somebody else may hold what this statement wants."""
        if not (one.is_open and one.writes) or verb in {"COMMIT", "ROLLBACK", "SAVEPOINT"}:
            return False
        if not any(other.is_open and other.writes for other in self._taken if other is not one):
            return False
        self.do(one.raw.execute("SAVEPOINT sim"))
        return True

    def _perform(self, one: _Open, host: Host | None, how: str, verb: str, sql: str, args: tuple[Any, ...]) -> Any:
        now = self._loop.time()
        text = sql
        if verb == "BEGIN":
            moment = self._clock.now().isoformat()
            begin, _, more = sql.partition("; ")
            text = f"{begin}; SET LOCAL sim.now = '{moment}'; SET LOCAL sim.clock = '{moment}'; {more}"
            one.is_open, one.writes, one.told = True, "READ ONLY" not in sql, now
        elif one.told != now and verb not in {"COMMIT", "ROLLBACK"}:
            moment = self._clock.now().isoformat()
            alone = f"SET sim.now = '{moment}'; SET sim.clock = '{moment}'"  # a statement that is a transaction
            self.do(one.raw.execute(f"SET LOCAL sim.clock = '{moment}'" if one.is_open else alone))
            one.told = now
        who = "world" if host is None else host.name
        try:
            found = self.do(getattr(one.raw, how)(text, *args))
        except asyncpg.LockNotAvailableError:
            self._trace.count("lock waits")
            raise
        except Exception as error:
            self._trace.add(now, who, "sql", f"{sql} {args!r} {type(error).__name__}")
            raise
        told = found if isinstance(found, str) else len(found) if isinstance(found, list) else found is not None
        self._trace.add(now, who, "sql", f"{sql} {args!r} {told}")
        self._trace.count("statements")
        if verb == "COMMIT" or sql == "ROLLBACK":
            self._end(one)
        elif verb == "ROLLBACK":
            one.told = -1.0
        return found

    async def _park(self, one: _Open) -> None:
        """Wait until some transaction has ended. Raises DeadlockDetectedError when none will."""
        self.do(one.raw.execute("ROLLBACK TO SAVEPOINT sim"))
        one.told = -1.0
        others = [other for other in self._taken if other is not one and other.is_open and other.writes]
        if all(other.parked for other in others):
            self._trace.count("deadlocks")
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        one.parked = True
        try:
            await self._ended.wait()
        finally:
            one.parked = False

    def _end(self, one: _Open) -> None:
        one.is_open = one.writes = one.parked = False
        self._ended.set()
        self._ended = asyncio.Event()


class SimulatedPool:
    """What `Database` takes for a pool."""

    def __init__(self, wire: Wire, host: Host | None) -> None:
        self._wire = wire
        self._host = host
        self._places = asyncio.Semaphore(PROCESS_CONNECTIONS)
        self._taken = 0

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator["SimulatedConnection"]:
        """One connection, while the block runs."""
        async with self._places:
            one = self._wire.take(self._host)
            self._taken += 1
            try:
                yield SimulatedConnection(self._wire, self._host, one)
            finally:
                self._taken -= 1
                self._wire.give_back(one)

    def get_size(self) -> int:
        """As asyncpg's."""
        return PROCESS_CONNECTIONS

    def get_idle_size(self) -> int:
        """As asyncpg's."""
        return PROCESS_CONNECTIONS - self._taken

    def get_max_size(self) -> int:
        """As asyncpg's."""
        return PROCESS_CONNECTIONS


class SimulatedConnection:
    """What `Database` takes for a connection."""

    def __init__(self, wire: Wire, host: Host | None, one: _Open) -> None:
        self._wire = wire
        self._host = host
        self._one = one

    async def execute(self, sql: str, *args: Any) -> Any:
        """As asyncpg's."""
        return await self._wire.run(self._one, self._host, "execute", sql, args)

    async def fetch(self, sql: str, *args: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """As asyncpg's; the server's time is not the simulation's, so no statement takes too long."""
        return await self._wire.run(self._one, self._host, "fetch", sql, args)

    async def fetchrow(self, sql: str, *args: Any) -> Any:
        """As asyncpg's."""
        return await self._wire.run(self._one, self._host, "fetchrow", sql, args)

    def terminate(self) -> None:
        """As asyncpg's: what is open is rolled back when it is given back."""

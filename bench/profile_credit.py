"""Where the time of the product's calls goes: round trips, Python, PostgreSQL.

Three looks at one process that serves HTTP here: the SQL statements and Redis commands of one call of each flow, then
the credit flow under load with `pg_stat_statements` (functions' insides too), then the same with cProfile. cProfile
makes Python dearer than it is: read it for shares, and `make bench` for figures.
"""

import argparse
import asyncio
import contextlib
import cProfile
import io
import json
import pstats
import random
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import redis.asyncio
import uvicorn
import uvloop

from offerhub.app import Product, http_application, product
from offerhub.cli.development import sandbox_process
from offerhub.runtime import migrations, telemetry
from offerhub.runtime.embedded import embedded_services
from offerhub.runtime.embedded.supervisor import free_port
from offerhub.settings import load as load_settings
from stage import call, data_folder, new_key, seed_users, variables

HERE: Final = Path(__file__).parent
TOP: Final = 15
STATEMENTS: Final = 24
CONNECTIONS: Final = 32
STATEMENT_CHARACTERS: Final = 110

_PRELOAD: Final = (
    "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'",
    "ALTER SYSTEM SET pg_stat_statements.track = 'all'",
)
_STATEMENTS: Final = """
SELECT toplevel, calls, total_exec_time AS ms, wal_bytes, query FROM pg_stat_statements
WHERE query NOT LIKE '%pg_stat_statements%' ORDER BY total_exec_time DESC LIMIT $1
"""


class Statements:
    """Notes every statement that the product sends (see `runtime.database.StatementHook`)."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def before(self, sql: str) -> None:
        """A statement is about to be sent."""
        self.sent.append(_short(sql))

    def after(self, sql: str) -> None:
        """It has been answered."""


def _short(sql: str) -> str:
    return " ".join(sql.split())[:STATEMENT_CHARACTERS]


class _Server(uvicorn.Server):
    """Uvicorn, saying when it listens; signals stay ours."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def _serving(environ: dict[str, str]) -> AsyncIterator[Product]:
    """Serve the product in this process, as `offerhub serve --no-jobs` does."""
    settings = load_settings(environ)
    await migrations.migrate(settings.storage.direct_url.reveal())
    async with product(settings) as made, http_application(made) as served:
        await made.bootstrap()
        config = uvicorn.Config(
            served, host="127.0.0.1", port=settings.server.port, loop="none", http="httptools", lifespan="off",
            log_config=None, access_log=False, server_header=False, date_header=False,
        )  # fmt: skip
        server = _Server(config)
        serving = asyncio.create_task(server.serve())
        await server.listening.wait()
        yield made
        server.should_exit = True
        await serving


async def _ask(port: int, method: str, path: str, body: Any, credential: str, key: str | None) -> tuple[int, Any]:
    return await asyncio.to_thread(call, port, method, path, body, credential, key)


async def _round_trips(made: Product, port: int, credential: str, users: list[str], redis_url: str) -> None:
    """Print the statements and the Redis commands of one call of each flow."""
    client = redis.asyncio.Redis.from_url(redis_url)
    hook = Statements()
    buyer, seller = users[:2]
    credit = {"amount": "1.00", "currency": "USD", "reference": "bench"}
    order = {"buyer_id": buyer, "seller_id": seller, "amount": "1.00", "currency": "USD", "title": "bench"}
    order_id = "?"
    for name, method, path, body, key in (
        ("health", "GET", "/health", None, None),
        ("balance read", "GET", f"/users/{buyer}/balance", None, None),
        ("credit without key", "POST", f"/users/{buyer}/balance/credit", credit, None),
        ("credit with key", "POST", f"/users/{buyer}/balance/credit", credit, "profile-1"),
        ("credit with key, replayed", "POST", f"/users/{buyer}/balance/credit", credit, "profile-1"),
        ("order create", "POST", "/orders", order, "profile-2"),
        ("order reserve", "POST", "/orders/{}/reserve", {}, "profile-3"),
        ("user create", "POST", "/users", {"externalUserId": "profile", "type": "BOTH"}, "profile-4"),
    ):
        await _ask(port, "GET", f"/users/{buyer}/balance", None, credential, None)  # the key is known from here on
        made.database.hook = hook
        hook.sent.clear()
        before = (await client.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0)
        status, answer = await _ask(port, method, path.format(order_id), body, credential, key)
        after = (await client.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0)
        made.database.hook = None
        print(f"\n{name}: {status}, {len(hook.sent)} SQL, {after - before} Redis")
        for place, sql in enumerate(hook.sent, 1):
            print(f"  {place:>2}  {sql}")
        if name == "order create":
            order_id = answer["data"]["id"]
    await client.aclose()


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent to us, and for how long."""

    flow: str
    port: int
    credential: str
    users: list[str]
    seconds: int


async def _run(load: Load) -> dict[str, Any]:
    """Run the load generator beside us."""
    task = {
        **asdict(load),
        "host": "127.0.0.1",
        "connections": CONNECTIONS,
        "warm_up_seconds": 0.5,
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "load_http.py"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate(json.dumps(task).encode())
    measured: dict[str, Any] = json.loads(out)
    return measured


async def _postgresql(database_url: str, load: Load) -> None:
    """Print which statements PostgreSQL spends its time on."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    await connection.fetch("SELECT pg_stat_statements_reset()")
    measured = await _run(load)
    rows = await connection.fetch(_STATEMENTS, STATEMENTS)
    await connection.close()
    print(f"\nPostgreSQL under {load.flow}: {measured['calls'] / measured['seconds']:.0f} calls/s")
    print("  level  µs each   calls  ms in all  WAL bytes  statement")
    for row in rows:
        level, each = "top" if row["toplevel"] else "inner", row["ms"] / row["calls"] * 1000
        wal = int(row["wal_bytes"]) // row["calls"]
        print(f"  {level:<5} {each:>8.0f} {row['calls']:>7} {row['ms']:>10.0f} {wal:>10}  {_short(row['query'])}")


async def _python(load: Load) -> None:
    """Print where this process spends its own time."""
    profile = cProfile.Profile()
    profile.enable()
    measured = await _run(load)
    profile.disable()
    print(f"\nPython under {load.flow}, profiled: {measured['calls'] / measured['seconds']:.0f} calls/s")
    for order in ("tottime", "cumulative"):
        text = io.StringIO()
        pstats.Stats(profile, stream=text).sort_stats(order).print_stats(TOP if order == "tottime" else 4 * TOP)
        print(text.getvalue())


async def _main(environ: dict[str, str], flow: str, seconds: int) -> None:
    port = int(environ["PORT"])
    async with _serving(environ) as made:
        master = environ["OFFERHUB_MASTER_KEY"]
        credential = await asyncio.to_thread(new_key, port, master)
        users = await seed_users(environ["DATABASE_URL"])
        random.shuffle(users)
        await _round_trips(made, port, credential, users, environ["REDIS_URL"])
        sent = Load(flow, port, credential, users, seconds)
        await _postgresql(environ["DATABASE_URL"], sent)
        await _python(sent)


async def _preload(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    for statement in _PRELOAD:
        await connection.execute(statement)
    await connection.close()


def main() -> None:
    """Profile on servers of our own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flow", default="credit_spread")
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    with data_folder() as folder:
        with embedded_services(folder, want_redis=False) as urls:
            asyncio.run(_preload(urls.database_url))
        with (
            embedded_services(folder) as urls,
            sandbox_process(ledger_seconds=0, log_file=folder / "sandbox.log") as sandbox,
            (folder / "service.log").open("w", encoding="utf-8") as log,
        ):
            environ = variables(urls.database_url, urls.redis_url, sandbox, folder) | {"PORT": str(free_port())}
            telemetry.configure(level="info", production=True, stream=log)
            uvloop.run(_main(environ, options.flow, options.seconds))


if __name__ == "__main__":
    main()

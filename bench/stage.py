"""What the bench runs on: servers of its own, an idle sandbox, and the service in production mode."""

import contextlib
import http.client
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

import books
from cpu import Processes, parent_of
from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.cli.demo.stage import data_dir_of, own_environment, remove_folder
from offerhub.cli.development import sandbox_process
from offerhub.kernel.ids import new_id
from offerhub.runtime.embedded import embedded_services
from offerhub.runtime.embedded.supervisor import free_port

USERS: Final = 1_000
READY_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 30.0
LOOK_SECONDS: Final = 0.005
RATE_LIMIT_MAX: Final = 1_000_000
FUNDS: Final = 10**15
"""Units that every user holds before it begins: 100 million, enough for every order of a run."""

_SEED_USERS: Final = """
INSERT INTO users (id, marketplace_id, external_user_id, type)
SELECT id, $1, 'bench-' || id, 'BOTH' FROM unnest($2::text[]) AS id
"""
_SEED_FUNDS: Final = """
SELECT count(*) FROM unnest($2::text[]) AS id, LATERAL ledger.post(
    $1, 'bench:' || id, 'manual_credit', id, NULL, 'bench', ARRAY[$1, id], ARRAY['world:manual', 'available'],
    ARRAY[-$3::bigint, $3::bigint])
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, and how to reach it."""

    host: str
    port: int
    database_url: str
    programs: Path
    processes: Processes
    credential: str
    users: list[str]
    webhook_secret: str
    marketplace: str = DEFAULT_MARKETPLACE_ID


def variables(database_url: str, redis_url: str, sandbox: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What the service is started with: production, a rate limit that is counted and never reached."""
    return {
        "NODE_ENV": "production",
        "LOG_LEVEL": "warn",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "OFFERHUB_DATA_DIR": str(folder),
        "OFFERHUB_MASTER_KEY": secrets.token_hex(24),
        "TRUSTLESS_WEBHOOK_SECRET": secrets.token_hex(24),
        "PAYMENT_PROVIDER": "crypto",
        "RATE_LIMIT_MAX": str(RATE_LIMIT_MAX),
        "RATE_LIMIT_WINDOW_SECONDS": "1",
        "HOST": "127.0.0.1",
        **{name: value for name, value in sandbox.items() if not name.startswith("OFFERHUB_")},
    }


@contextlib.contextmanager
def data_folder() -> Iterator[Path]:
    """A data folder of this run's own, on the disk of the project: a temporary folder may be in memory."""
    data_dir = data_dir_of(os.environ)
    data_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=data_dir.absolute()))
    folder.chmod(0o711)  # as root the servers run as somebody else, who passes through
    try:
        yield folder
    finally:
        remove_folder(folder)


@contextlib.contextmanager
def service(folder: Path, environ: Mapping[str, str], *, jobs: bool) -> Iterator[tuple[int, int]]:
    """Run `offerhub serve`; yields its process id and port once it is healthy."""
    port = free_port()
    command = [sys.executable, "-c", "from offerhub.cli.main import main; main()", "serve"]
    command += [] if jobs else ["--no-jobs"]
    with (folder / "service.log").open("ab") as log:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={**own_environment(os.environ), **environ, "PORT": str(port)},
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_healthy(child, port, folder / "service.log")
        yield child.pid, port
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_until_healthy(child: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline and child.poll() is None:
        try:
            if call(port, "GET", "/health")[0] == 200:
                return
        except OSError:
            time.sleep(LOOK_SECONDS)
    raise RuntimeError(f"the service did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")


def call(
    port: int, method: str, path: str, body: Any = None, credential: str = "", key: str | None = None
) -> tuple[int, Any]:
    """One request, `key` being its Idempotency-Key; the status and the decoded answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"content-type": "application/json"}
    headers |= {"authorization": f"Bearer {credential}"} if credential else {}
    headers |= {"idempotency-key": key} if key else {}
    try:
        connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.load(answer)
    finally:
        connection.close()


def new_key(port: int, master_key: str) -> str:
    """A new API key that may do everything."""
    status, answer = call(port, "POST", "/auth/api-keys", {"name": "bench", "scopes": ["*"]}, master_key)
    assert status == 201, answer
    found = answer.get("data", answer)
    return str(found["key"])


async def seed_users(database_url: str, count: int = USERS) -> list[str]:
    """Users with money, written to the database: creating them over HTTP would make a wallet for each."""
    ids = [new_id("usr") for _ in range(count)]
    connection = await asyncpg.connect(database_url)
    await connection.execute(_SEED_USERS, DEFAULT_MARKETPLACE_ID, ids)
    await connection.execute(_SEED_FUNDS, DEFAULT_MARKETPLACE_ID, ids, FUNDS)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    return ids


async def some_users(database_url: str, count: int = USERS) -> list[str]:
    """Some of the users that there are, from all over the table."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT id FROM users ORDER BY md5(id) LIMIT $1", count)
    await connection.close()
    return [row["id"] for row in rows]


async def _postmaster(database_url: str) -> int:
    connection = await asyncpg.connect(database_url)
    backend = connection.get_server_pid()
    parent = parent_of(backend)
    await connection.close()
    return parent


async def _valkey(redis_url: str) -> int:
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(redis_url)
    information = await client.info("server")
    await client.aclose()
    return int(information["process_id"])


@contextlib.asynccontextmanager
async def stage(*, jobs: bool, more: Mapping[str, str] | None = None, postings: int = 0) -> Any:
    """Start everything, the service with these variables besides; stop everything in the end.

    With `postings` the books hold so many before the service starts, and `users` are some of those they are of.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(data_folder())
        urls = stack.enter_context(embedded_services(folder, durable=True))
        # Ledgers close on demand only, and nobody asks: the sandbox stays idle.
        sandbox = stack.enter_context(sandbox_process(ledger_seconds=0, log_file=folder / "sandbox.log"))
        environ = {**variables(urls.database_url, urls.redis_url, sandbox, folder), **(more or {})}
        if postings:
            await books.fill(urls.database_url, postings)
        pid, port = stack.enter_context(service(folder, environ, jobs=jobs))
        yield Stage(
            host="127.0.0.1",
            port=port,
            database_url=urls.database_url,
            programs=urls.postgres_bin,
            processes=Processes(pid, await _postmaster(urls.database_url), await _valkey(urls.redis_url)),
            credential=new_key(port, environ["OFFERHUB_MASTER_KEY"]),
            users=await (some_users if postings else seed_users)(urls.database_url),
            webhook_secret=environ["TRUSTLESS_WEBHOOK_SECRET"],
        )

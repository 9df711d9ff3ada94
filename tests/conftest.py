"""What all tests share: real servers, and databases with the current schema.

Without DATABASE_URL and REDIS_URL, servers of our own run for this test run only: one PostgreSQL for all xdist
workers, and a Valkey for each. With them (`make test-compat`) those servers are used; the database's user must be
allowed to create databases, and Redis must have REDIS_INDEXES of them for each worker.
"""

import contextlib
import gc
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from offerhub.runtime import telemetry
from offerhub.runtime.embedded import embedded_services
from offerhub.runtime.migrations import migrate

pytest_plugins = [
    "support.product_fixtures",
    "support.own_redis",
    "support.queue_fixtures",
    "support.long_runs",
    "support.tls",
]

TEST_DATA_DIR = "OFFERHUB_TEST_DATA_DIR"
REDIS_INDEXES = 4
"""The tests' own, and one for each product that runs beside another (support.product_fixtures)."""
TESTS = Path(__file__).parent
MEMORY = Path("/dev/shm")  # noqa: S108 - folders in it get random names
ROOM_BYTES = 6 << 30
LONGEST_FIRST = ("simulation", "faults", "cli", "model", "races", "hostile", "fuzz", "sandbox", "product", "contract")


def pytest_configure(config: pytest.Config) -> None:
    """Name the data folder before the workers start: they inherit it, and share its servers.

    Logs are as in production. Where nothing is configured every traceback is drawn with colours and frames, which was
    a seventh of what the tests cost.
    """
    telemetry.configure()
    if not hasattr(config, "workerinput"):
        os.environ[TEST_DATA_DIR] = str(new_data_dir())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose files take longest, so that no process is left with one of them in the end."""
    rank = {folder: place for place, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(TESTS).parts[0], len(rank)))


def pytest_collection_finish() -> None:
    """What is imported by now stays: to look at it again and again was a tenth of what the tests cost."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The workers are gone, and the servers with them."""
    if not hasattr(config, "workerinput"):
        remove_data_dir(Path(os.environ.pop(TEST_DATA_DIR)))


def new_data_dir() -> Path:
    """A data folder for servers. Not `tmp_path`: that is private, and as root the servers run as somebody else."""
    folder = Path(tempfile.mkdtemp(prefix="offerhub-test-", dir=_in_memory()))
    folder.chmod(0o711)
    return folder


def _in_memory() -> Path | None:
    """A file system in memory with room for hundreds of databases, and that runs programs; None without one."""
    with contextlib.suppress(OSError):
        system, free = os.statvfs(MEMORY), os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if min(system.f_bavail * system.f_frsize, free) >= ROOM_BYTES and not system.f_flag & os.ST_NOEXEC:
            return MEMORY
    return None


def remove_data_dir(folder: Path) -> None:
    """Remove a data folder, and the servers' folder that it may point to."""
    shutil.rmtree((folder / "services").resolve(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder for servers of one test's own."""
    folder = new_data_dir()
    yield folder
    remove_data_dir(folder)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """PostgreSQL for this run."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    with embedded_services(Path(os.environ[TEST_DATA_DIR]), durable=False, want_redis=False) as urls:
        yield urls.database_url


@contextlib.asynccontextmanager
async def _new_database(server_url: str, template: str = "template1") -> AsyncIterator[str]:
    name = f"offerhub_test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f'CREATE DATABASE {name} TEMPLATE "{template}"')
        yield with_database(server_url, name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def template_database_url(server_url: str) -> AsyncIterator[str]:
    """The current schema, empty; only to be cloned, never connected to."""
    async with _new_database(server_url) as url:
        await migrate(url)
        yield url


@pytest.fixture(scope="session")
async def folder_database_url(server_url: str, template_database_url: str) -> AsyncIterator[str]:
    """A database with the current schema, for a folder of tests that must have it to themselves."""
    async with _new_database(server_url, urlsplit(template_database_url).path[1:]) as url:
        yield url


@pytest.fixture(scope="session")
async def database_url(server_url: str, template_database_url: str) -> AsyncIterator[str]:
    """A database with the current schema, shared by the tests of one worker."""
    async with _new_database(server_url, urlsplit(template_database_url).path[1:]) as url:
        yield url


@pytest.fixture
async def fresh_database_url(server_url: str, template_database_url: str) -> AsyncIterator[str]:
    """A database with the current schema, for one test."""
    async with _new_database(server_url, urlsplit(template_database_url).path[1:]) as url:
        yield url


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """A database without any schema, for one test."""
    async with _new_database(server_url) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(worker_id: str) -> Iterator[str]:
    """Redis: index 0 of a server of this worker's own, or the first of its indexes at the one that is given.

    A test may hold its server up: no other worker shall feel it.
    """
    if given := os.environ.get("REDIS_URL"):
        yield with_database(given, str(REDIS_INDEXES * int(worker_id.removeprefix("gw").replace("master", "0"))))
        return
    folder = new_data_dir()
    with embedded_services(folder, durable=False, want_postgres=False) as urls:
        yield with_database(urls.redis_url, "0")
    remove_data_dir(folder)

"""Fixtures of every suite that meets the product over HTTP: one sandbox and one product of each rail for each worker.

A marketplace is a module's own. Two products never share a queue of Redis: each would take the other's jobs.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest
from redis.asyncio import Redis

from offerhub.cli.development import sandbox_process
from support.outside import LEDGER_SECONDS, World
from support.payloads import assert_described
from support.product import Marketplace, Person, Running, environment, running

REDIS_INDEX_OFFSET = 1
AIRTM_REDIS_INDEX_OFFSET = 2
OFFICE_INDEX_OFFSET = 3
"""Beside the index of the other tests, which empty theirs."""


def _with_path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


@pytest.fixture(scope="session")
def product_redis_url(redis_url: str) -> str:
    """Redis, with an index of the product's own."""
    return _redis_at(redis_url, REDIS_INDEX_OFFSET)


def _redis_at(redis_url: str, offset: int) -> str:
    return _with_path(redis_url, str(int(urlsplit(redis_url).path[1:]) + offset))


@contextlib.asynccontextmanager
async def new_database(server_url: str, template_url: str) -> AsyncIterator[str]:
    """A database of somebody's own, with the current schema; it is dropped in the end."""
    name = f"offerhub_test_product_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f'CREATE DATABASE {name} TEMPLATE "{urlsplit(template_url).path[1:]}"')
        yield _with_path(server_url, name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def product_database_url(server_url: str, template_database_url: str) -> AsyncIterator[str]:
    """A database of the product's own: other tests leave rows behind that no product would write."""
    async with new_database(server_url, template_database_url) as url:
        yield url


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """The clients' connections."""
    # Idle connections are dropped before the server does it (5 s): a POST on a dying one cannot be repeated blindly.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2)) as session:
        yield session


@pytest.fixture(scope="session")
def sandbox_environ() -> Iterator[dict[str, str]]:
    """The sandbox's process."""
    with sandbox_process(ledger_seconds=LEDGER_SECONDS, airtm_settle_seconds=0) as environ:
        yield environ


@pytest.fixture(scope="session")
def world(sandbox_environ: dict[str, str], http: aiohttp.ClientSession) -> World:
    """The world outside the product."""
    return World(sandbox_environ, http)


@pytest.fixture(scope="session")
def environ(product_database_url: str, product_redis_url: str, sandbox_environ: dict[str, str]) -> dict[str, str]:
    """The variables that the product is started with."""
    return environment(product_database_url, product_redis_url, sandbox_environ)


@pytest.fixture(scope="session")
async def live(environ: dict[str, str]) -> AsyncIterator[Running]:
    """The product."""
    async with running(environ) as found:
        yield found


@pytest.fixture(scope="session")
async def airtm_environ(
    server_url: str, template_database_url: str, redis_url: str, sandbox_environ: dict[str, str]
) -> AsyncIterator[dict[str, str]]:
    """The variables of a product on the rail of Airtm, with servers of its own, beside the same sandbox."""
    queue = _redis_at(redis_url, AIRTM_REDIS_INDEX_OFFSET)
    async with new_database(server_url, template_database_url) as database_url:
        yield environment(database_url, queue, sandbox_environ, PAYMENT_PROVIDER="airtm")


@pytest.fixture(scope="session")
async def airtm_live(airtm_environ: dict[str, str]) -> AsyncIterator[Running]:
    """The product on the rail of Airtm."""
    async with running(airtm_environ) as found:
        yield found


@pytest.fixture(scope="module")
async def tight_live(
    server_url: str, template_database_url: str, redis_url: str, sandbox_environ: dict[str, str]
) -> AsyncIterator[Running]:
    """A product of a module's own, with all rails and little patience with its providers."""
    queue = _redis_at(redis_url, OFFICE_INDEX_OFFSET)
    tight = {
        "PAYMENT_PROVIDER": "airtm",
        "AIRTM_CONCURRENCY": "2",
        "AIRTM_TIMEOUT_MS": "60000",
        "PROVIDER_QUEUE_SECONDS": "0.5",
        "PROVIDER_BREAKER_FAILURES": "3",
        "PROVIDER_BREAKER_SECONDS": "3",
    }
    async with (
        new_database(server_url, template_database_url) as database_url,
        running(environment(database_url, queue, sandbox_environ, **tight)) as found,
    ):
        yield found


@pytest.fixture(scope="module")
async def airtm_shop(airtm_live: Running, world: World, http: aiohttp.ClientSession) -> AsyncIterator[Marketplace]:
    """A marketplace of this module's own, on the rail of Airtm; the books hold after it."""
    yield await Marketplace.found(airtm_live, world, http)
    await airtm_live.assert_books_hold()
    await assert_described(airtm_live.product.database)


@pytest.fixture(scope="module")
async def office_environ(
    server_url: str, template_database_url: str, redis_url: str, sandbox_environ: dict[str, str]
) -> AsyncIterator[dict[str, str]]:
    """The variables of a product with a database and queues of its own: nobody else takes its jobs."""
    redis = _redis_at(redis_url, OFFICE_INDEX_OFFSET)
    client = Redis.from_url(redis)
    await client.flushdb()
    await client.aclose()
    async with new_database(server_url, template_database_url) as database_url:
        yield environment(database_url, redis, sandbox_environ)


@pytest.fixture(scope="module")
async def shop(live: Running, world: World, http: aiohttp.ClientSession) -> Marketplace:
    """A marketplace of this module's own."""
    return await Marketplace.found(live, world, http)


@pytest.fixture(scope="module")
async def pair(shop: Marketplace) -> tuple[Person, Person]:
    """A buyer with 5000.00 on the chain, and a seller; tests look at how their balances change."""
    buyer, seller = await shop.people("5000", None)
    return buyer, seller


@pytest.fixture
async def mended(world: World) -> AsyncIterator[None]:
    """Faults end with the test that asked for them."""
    yield
    await world.mend()

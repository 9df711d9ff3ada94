"""The product that is fuzzed: on the rail of Airtm, where every operation has something to do, with its sandbox."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from offerhub.cli.development import sandbox_process
from support.outside import LEDGER_SECONDS, World
from support.product import Running, environment, fill_treasury, running

INLINE_WAIT_SECONDS = "0.2"
"""A request waits that long for its saga; what takes longer goes on by itself, while the next case is sent."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of `make test-fuzz`."""
    group = parser.getgroup("fuzz")
    group.addoption("--fuzz-examples", type=int, default=None, help="the long run, with this many examples")
    group.addoption("--fuzz-seed", type=int, default=None, help="the seed of the generated cases")


TREASURY = "100000000"


@pytest.fixture
def sandbox_environ() -> Iterator[dict[str, str]]:
    """The sandbox's process."""
    with sandbox_process(ledger_seconds=LEDGER_SECONDS, airtm_settle_seconds=0) as environ:
        yield environ


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """The clients' connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2)) as session:
        yield session


@pytest.fixture
def world(sandbox_environ: dict[str, str], http: aiohttp.ClientSession) -> World:
    """The world outside the product."""
    return World(sandbox_environ, http)


@pytest.fixture
async def live(
    fresh_database_url: str, redis_url: str, sandbox_environ: dict[str, str], world: World
) -> AsyncIterator[Running]:
    """The product, with a treasury that can pay whatever is asked for."""
    more = {"PAYMENT_PROVIDER": "airtm", "SAGA_INLINE_WAIT_SECONDS": INLINE_WAIT_SECONDS}
    async with running(environment(fresh_database_url, redis_url, sandbox_environ, **more)) as found:
        await fill_treasury(found, world, TREASURY)
        yield found

"""Races are run at the product as it is deployed: several processes' worth of it on one database.

`shop` speaks to one, `elsewhere` to another one that runs no jobs of its own.
"""

from collections.abc import AsyncIterator

import pytest

from support.payloads import assert_described
from support.product import Marketplace, Running, running


@pytest.fixture(scope="session")
async def replica(live: Running, environ: dict[str, str]) -> AsyncIterator[Running]:
    """A second product on the database of the first."""
    async with running(environ, jobs=False) as found:
        yield found


@pytest.fixture
def elsewhere(shop: Marketplace, replica: Running) -> Marketplace:
    """The marketplace, at the second product."""
    return shop.on(replica)


@pytest.fixture(autouse=True, scope="module")
async def _books_hold(live: Running) -> AsyncIterator[None]:
    """Whatever raced, the books hold afterwards."""
    yield
    await live.assert_books_hold()
    await assert_described(live.product.database)

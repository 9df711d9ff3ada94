"""The books hold after each module of the product's tests, and its events are those of the catalogue."""

from collections.abc import AsyncIterator

import pytest

from support.payloads import assert_described
from support.product import Running


@pytest.fixture(autouse=True, scope="module")
async def _books_hold(live: Running) -> AsyncIterator[None]:
    """Whatever a module does, the books hold afterwards."""
    yield
    await live.assert_books_hold()
    await assert_described(live.product.database)

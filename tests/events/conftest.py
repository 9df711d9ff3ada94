"""The log of events on a database of one test's own, and what writes to it."""

from collections.abc import AsyncIterator

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Database


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(fresh_database_url, pool_size=20)
    yield opened
    await opened.close()


@pytest.fixture
def actor() -> Actor:
    return system(DEFAULT_MARKETPLACE_ID, "test", "the-request")

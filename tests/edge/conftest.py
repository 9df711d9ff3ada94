"""The edge's own application on a real database."""

from collections.abc import AsyncIterator

import pytest
from edge_fixture import Stage

from asgi_client import Client
from offerhub.runtime.database import Database


@pytest.fixture(scope="session")
async def database(database_url: str) -> AsyncIterator[Database]:
    """One pool for all tests of the edge."""
    pool = await Database.connect(database_url, pool_size=30)
    yield pool
    await pool.close()


@pytest.fixture
def stage(database: Database) -> Stage:
    """What the routes do."""
    return Stage(database)


@pytest.fixture
def client(stage: Stage) -> Client:
    """A caller who may read and write."""
    return Client(stage.application(), stage.credential("read", "write"))

"""A connected database, and users to post for."""

from collections.abc import AsyncIterator

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.kernel.ids import new_id
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_size=40)
    yield opened
    await opened.close()


@pytest.fixture
def actor() -> Actor:
    return system(DEFAULT_MARKETPLACE_ID, "test")


@pytest.fixture
async def user_id(database: Database) -> str:
    """A user with an empty balance."""
    made = new_id("usr")
    await database.run(
        lambda tx: tx.execute(
            "INSERT INTO users (id, marketplace_id, external_user_id, type) VALUES ($1, $2, $1, 'BOTH')",
            made,
            DEFAULT_MARKETPLACE_ID,
        )
    )
    return made

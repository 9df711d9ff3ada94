"""A database with one user in it."""

from collections.abc import AsyncIterator

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.kernel.ids import new_id
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Database


@pytest.fixture(scope="session")
async def database(folder_database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(folder_database_url, pool_size=10)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def actor() -> Actor:
    return system(DEFAULT_MARKETPLACE_ID, "test")


@pytest.fixture
async def user_id(database: Database, actor: Actor) -> str:
    """A new user, whose account at Airtm is called `ana`."""
    made = new_id("usr")
    await database.run(
        lambda tx: tx.execute(
            "INSERT INTO users (id, marketplace_id, external_user_id, type) VALUES ($1, $2, $1, 'BOTH')",
            made,
            actor.marketplace_id,
        )
    )
    return made

"""A sandbox, and processes of ours that can be killed at any point."""

from collections.abc import AsyncIterator, Iterator

import pytest

from faults.killable import World
from offerhub.cli.development import sandbox_process
from offerhub.runtime.database import Database


@pytest.fixture(scope="session")
def sandbox_variables() -> Iterator[dict[str, str]]:
    """A sandbox with quick ledgers, as the variables that point at it."""
    with sandbox_process(ledger_seconds=0.05) as variables:
        yield variables


@pytest.fixture(scope="session")
async def world(sandbox_variables: dict[str, str], folder_database_url: str, redis_url: str) -> AsyncIterator[World]:
    """A marketplace with a rich buyer and a seller, both with wallets on the chain."""
    opened = await World.open(sandbox_variables, folder_database_url, redis_url)
    yield opened
    await opened.close()


@pytest.fixture
async def database(world: World) -> Database:
    return world.database

"""The routes of access behind the real edge, on a real database."""

from collections.abc import AsyncIterator

import pytest
from access_office import MASTER_KEY, Office

from asgi_client import NoSagas
from offerhub.access.api import routes
from offerhub.access.authenticator import Credentials
from offerhub.access.tokens import TokenSigner
from offerhub.edge.application import build
from offerhub.kernel.clock import ManualClock
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Vault


@pytest.fixture(scope="session")
async def database(database_url: str) -> AsyncIterator[Database]:
    """One pool for all tests of access."""
    pool = await Database.connect(database_url, pool_size=5)
    yield pool
    await pool.close()


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    """The application."""
    clock, signer = ManualClock(), TokenSigner(b"s" * 32)
    credentials = Credentials(database, master_key=MASTER_KEY, signer=signer, clock=clock)
    app = build(
        routes(signer, clock),
        database=database,
        authenticate=credentials,
        sagas=NoSagas(),
        limiter=None,
        inline_wait_seconds=1,
        version="1",
        vault=Vault({1: b"k" * 32}, 1),
        clock=clock,
    )
    yield Office(app, database, clock, signer, credentials)
    await credentials.close()

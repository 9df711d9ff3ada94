"""The route of audit behind the real edge, on a real database."""

import secrets
from collections.abc import AsyncIterator

import pytest
from audit_archive import MASTER_KEY, Archive

from asgi_client import Client, NoSagas
from offerhub.access import api as access_api
from offerhub.access.authenticator import Credentials
from offerhub.access.tokens import TokenSigner
from offerhub.audit import api as audit_api
from offerhub.edge.application import build
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Vault


@pytest.fixture(scope="session")
async def database(database_url: str) -> AsyncIterator[Database]:
    """One pool for all tests of audit."""
    pool = await Database.connect(database_url, pool_size=5)
    yield pool
    await pool.close()


@pytest.fixture
async def archive(database: Database) -> AsyncIterator[Archive]:
    """The application, and a marketplace with a support key."""
    signer = TokenSigner(b"s" * 32)
    credentials = Credentials(database, master_key=MASTER_KEY, signer=signer)
    app = build(
        (*access_api.routes(signer), *audit_api.routes()),
        database=database,
        authenticate=credentials,
        sagas=NoSagas(),
        limiter=None,
        inline_wait_seconds=1,
        version="1",
        vault=Vault({1: b"k" * 32}, 1),
    )
    name = {"name": f"audit {secrets.token_hex(8)}"}
    made = await Client(app, MASTER_KEY).post("/admin/marketplaces", name)
    found = Archive(app, database, made.data["id"], Client(app))
    found.support = found.caller(await found.key("support"))
    yield found
    await credentials.close()

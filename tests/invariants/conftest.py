"""One database with a truthful history, for all files here."""

from collections.abc import AsyncIterator

import history
import pytest
from stand import Stand

from offerhub.audit.chain import Sealer
from offerhub.events import store as log
from offerhub.operations.proof import prove
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Vault
from support.databases import cloned


@pytest.fixture(scope="session")
async def stand(server_url: str, template_database_url: str) -> AsyncIterator[Stand]:
    """The history is proven first: whatever is found later was done later."""
    async with cloned(server_url, template_database_url) as url:
        stand = await _proven(url)
        yield stand
        await stand.database.close()


async def _proven(url: str) -> Stand:
    database = await Database.connect(url, pool_size=4)
    await database.run(history.write)
    await database.run(Sealer(Vault({1: b"k" * 32}, 1)).seal)
    await database.run(log.sequence)
    proof = await prove(database, connections=3)
    assert (proof.findings, proof.postings, sum(proof.totals.values())) == ([], 8, 0)
    return Stand(database)

"""Replacing the master key: for a while both open the door, and what was encrypted before still opens."""

import secrets
from typing import Any

import pytest
from access_office import MASTER_KEY, Office

from asgi_client import Client, NoSagas
from offerhub.access.api import routes
from offerhub.access.authenticator import Credentials
from offerhub.app import product
from offerhub.edge.application import build
from offerhub.runtime.vault import Vault
from offerhub.settings import derive_key, load

NEW_KEY = "the-master-key-that-replaces-it"


@pytest.fixture
async def overlapping(office: Office) -> Any:
    """The same installation while its master key is being replaced."""
    credentials = Credentials(
        office.database,
        master_key=NEW_KEY,
        previous_master_key=MASTER_KEY,
        signer=office.signer,
        clock=office.clock,
    )
    return build(
        routes(office.signer, office.clock),
        database=office.database,
        authenticate=credentials,
        sagas=NoSagas(),
        limiter=None,
        inline_wait_seconds=1,
        version="1",
        vault=Vault({1: b"k" * 32}, 1),
        clock=office.clock,
    )


async def test_both_keys_are_the_master_while_they_overlap(overlapping: Any) -> None:
    for credential in (NEW_KEY, MASTER_KEY):
        heard = await Client(overlapping, credential).get("/auth/me")
        assert (heard.status, heard.data["apiKeyId"]) == (200, "master")
        marketplaces = await Client(overlapping, credential).get("/admin/marketplaces")
        assert marketplaces.status == 200
    for wrong in (NEW_KEY + "x", MASTER_KEY[:-1], "x"):
        assert (await Client(overlapping, wrong).get("/auth/me")).status == 401


async def test_both_keys_are_one_caller(overlapping: Any) -> None:
    """An answer that was lost in between can still be fetched, with whichever key."""
    body, key = {"name": secrets.token_hex(8)}, secrets.token_hex(8)
    first = await Client(overlapping, MASTER_KEY).post("/admin/marketplaces", body, key=key)
    again = await Client(overlapping, NEW_KEY).post("/admin/marketplaces", body, key=key)
    assert (first.status, again.headers["idempotency-replay"], again.data) == (201, "true", first.data)


async def test_without_an_overlap_only_its_own_key_opens(office: Office) -> None:
    assert (await office.master.get("/auth/me")).status == 200
    assert (await office.caller(NEW_KEY).get("/auth/me")).status == 401


async def test_wallets_open_under_the_pinned_key(database_url: str, redis_url: str) -> None:
    """The procedure of docs/operating/secrets.md, step by step, as far as the vault is concerned."""
    environ = {"NODE_ENV": "test", "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    old = environ | {"OFFERHUB_MASTER_KEY": MASTER_KEY}
    async with product(load(old)) as made:
        sealed = made.vault.seal(b"a secret", bound_to="G1")
    pinned = {
        "WALLET_ENCRYPTION_KEY": derive_key(MASTER_KEY, "wallet-encryption").hex(),
        "OFFERHUB_JWT_SECRET": "t" * 32,
    }
    overlap = environ | pinned | {"OFFERHUB_MASTER_KEY": NEW_KEY, "OFFERHUB_MASTER_KEY_PREVIOUS": MASTER_KEY}
    done = environ | pinned | {"OFFERHUB_MASTER_KEY": NEW_KEY}
    for step in (old | pinned, overlap, done):
        async with product(load(step)) as made:
            assert made.vault.open(sealed, bound_to="G1") == b"a secret"

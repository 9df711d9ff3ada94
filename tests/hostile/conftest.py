"""One installation for this folder. Every secret that it is given or makes is known, so that it is searched for."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest
from hostile_site import BODY_SECONDS, HEAD_SECONDS, Site

from offerhub.settings import load
from support.canaries import Canaries, canary
from support.fleet import fleet
from support.outside import World
from support.own_redis import OwnRedis
from support.product import Marketplace, environment


@pytest.fixture(scope="session")
def canaries() -> Canaries:
    """What is searched for."""
    return Canaries()


@pytest.fixture(scope="session")
async def guarded_database_url(server_url: str, template_database_url: str, canaries: Canaries) -> AsyncIterator[str]:
    """A database of its own, that is reached with a password of its own."""
    name, password = f"offerhub_canary_{secrets.token_hex(6)}", canary("DATABASE_PASSWORD")
    canaries.add("the database's password", password)
    template = urlsplit(template_database_url)
    connection = await asyncpg.connect(server_url)
    await connection.execute(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{password}'")
    await connection.execute(f'CREATE DATABASE {name} TEMPLATE "{template.path[1:]}" OWNER {name}')
    yield urlunsplit(
        template._replace(netloc=f"{name}:{password}@{template.hostname}:{template.port}", path=f"/{name}")
    )
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.execute(f"DROP ROLE {name}")
    await connection.close()


@pytest.fixture(scope="session")
async def guarded_redis_url(tmp_path_factory: pytest.TempPathFactory, canaries: Canaries) -> AsyncIterator[str]:
    """A Redis of its own, with a password."""
    password = canary("REDIS_PASSWORD")
    canaries.add("Redis' password", password)
    server = OwnRedis(tmp_path_factory.mktemp("redis"), password)
    await server.start()
    yield server.url
    await server.stop()


@pytest.fixture(scope="session")
def site_environ(
    guarded_database_url: str, guarded_redis_url: str, sandbox_environ: dict[str, str], canaries: Canaries
) -> dict[str, str]:
    """The variables: each secret that there is to set is a canary, or what the sandbox insists on."""
    given = {
        "OFFERHUB_MASTER_KEY": canary("OFFERHUB_MASTER_KEY"),
        "OFFERHUB_MASTER_KEY_PREVIOUS": canary("OFFERHUB_MASTER_KEY_PREVIOUS"),
        "OFFERHUB_JWT_SECRET": canary("OFFERHUB_JWT_SECRET"),
        "WALLET_ENCRYPTION_KEY": secrets.token_hex(32),
        "TRUSTLESS_WEBHOOK_SECRET": canary("TRUSTLESS_WEBHOOK_SECRET"),
        "TRUSTLESS_WEBHOOK_SECRET_PREVIOUS": canary("TRUSTLESS_WEBHOOK_SECRET_PREVIOUS"),
    }
    environ = environment(guarded_database_url, guarded_redis_url, sandbox_environ, PAYMENT_PROVIDER="airtm") | given
    for name in (*given, "AIRTM_API_KEY", "AIRTM_API_SECRET", "AIRTM_WEBHOOK_SECRET", "TRUSTLESS_API_KEY"):
        canaries.add(name, environ[name].removeprefix("whsec_"))
    keys = load(environ).keys
    canaries.add("the key of tokens", keys.token_secret.reveal())
    for version, key in keys.wallet_keys.items():
        canaries.add(f"wallet key {version}", key)
    return environ | {
        "LOG_LEVEL": "debug",
        "DEBUG": "bullmq:*",
        "REQUEST_HEAD_SECONDS": str(HEAD_SECONDS),
        "REQUEST_BODY_SECONDS": str(BODY_SECONDS),
    }


@pytest.fixture(scope="session")
async def site(
    site_environ: dict[str, str],
    canaries: Canaries,
    world: World,
    http: aiohttp.ClientSession,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Site]:
    """The installation, and a marketplace at it."""
    folder: Path = tmp_path_factory.mktemp("site")
    async with fleet(folder, site_environ, apis=1, workers=1) as found:
        live = found.at(found.apis[0])
        master = Marketplace(live, world, http, "", site_environ["OFFERHUB_MASTER_KEY"])
        made = await master.done("POST", "/admin/marketplaces", {"name": f"shop-{secrets.token_hex(4)}"}, status=201)
        body = {"name": "everything", "scopes": ["*"], "marketplaceId": made["id"]}
        key = (await master.done("POST", "/auth/api-keys", body, status=201))["key"]
        canaries.add("the marketplace's API key", key)
        yield Site(found, site_environ, canaries, live, Marketplace(live, world, http, made["id"], key))

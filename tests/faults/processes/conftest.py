"""A sandbox, and processes of ours that can be killed at any point."""

import secrets
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from faults.processes import stage as stages
from faults.processes import zygote as zygotes
from faults.processes.enumeration import COUPLES, Theatre
from faults.processes.world import World
from offerhub.cli.development import sandbox_process
from offerhub.runtime.database import Database
from support.product_fixtures import new_database
from support.toll_gate import Gate, toll_gate


@pytest.fixture(scope="session")
def sandbox_variables() -> Iterator[dict[str, str]]:
    """A sandbox with quick ledgers, as the variables that point at it."""
    with sandbox_process(ledger_seconds=0.05, airtm_settle_seconds=0) as variables:
        yield variables


@pytest.fixture(scope="session")
async def theatre(
    sandbox_variables: dict[str, str],
    server_url: str,
    template_database_url: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Theatre]:
    """A marketplace of its own, whose flows real processes begin that are killed and disturbed."""
    log = tmp_path_factory.mktemp("zygote") / "processes.log"
    async with (
        new_database(server_url, template_database_url) as url,
        zygotes.zygote(log) as zygote,
        stages.stage(url, redis_url, sandbox_variables, couples=COUPLES) as stage,
    ):
        yield Theatre(stage, zygote)


@pytest.fixture(scope="session")
async def world(sandbox_variables: dict[str, str], folder_database_url: str, redis_url: str) -> AsyncIterator[World]:
    """A marketplace with a rich buyer and a seller, both with wallets on the chain."""
    opened = await World.open(sandbox_variables, folder_database_url, redis_url)
    yield opened
    await opened.close()


@pytest.fixture
async def database(world: World) -> Database:
    return world.database


@pytest.fixture(scope="module")
def own_sandbox() -> Iterator[dict[str, str]]:
    """A sandbox for one module, whose clock may be put forward."""
    with sandbox_process(ledger_seconds=0.05) as variables:
        yield variables


@pytest.fixture(scope="module")
async def gate(own_sandbox: dict[str, str]) -> AsyncIterator[Gate]:
    """What stands between the module's sandbox and the product."""
    passphrase = own_sandbox["STELLAR_NETWORK_PASSPHRASE"]
    async with toll_gate(own_sandbox["STELLAR_HORIZON_URL"], passphrase) as found:
        yield found


@pytest.fixture(scope="module")
async def gated_world(
    own_sandbox: dict[str, str],
    gate: Gate,
    server_url: str,
    template_database_url: str,
    redis_url: str,
) -> AsyncIterator[World]:
    """A world behind the gate, with a database of its own."""
    name = f"offerhub_test_gated_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server_url)
    await connection.execute(f'CREATE DATABASE {name} TEMPLATE "{urlsplit(template_database_url).path[1:]}"')
    url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    opened = await World.open({**own_sandbox, "STELLAR_HORIZON_URL": gate.url}, url, redis_url)
    yield opened
    await opened.close()
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()

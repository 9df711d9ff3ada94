"""The commands as an operator meets them: exit codes, and words instead of tracebacks."""

import json
import socket
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.kernel.ids import new_id
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Entry, Leg
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database
from support.command import MASTER_KEY as SECRET
from support.command import offerhub, started
from support.own_redis import OwnRedis


@pytest.fixture
def servers(redis_url: str) -> dict[str, str]:
    return {"REDIS_URL": redis_url}


async def test_migrate_then_prove_an_empty_database(
    tmp_path: Path, empty_database_url: str, servers: dict[str, str]
) -> None:
    servers |= {"DATABASE_URL": empty_database_url}
    code, printed = await offerhub(tmp_path, "prove", **servers)
    assert (code, "offerhub migrate up" in printed) == (2, True)
    code, printed = await offerhub(tmp_path, "migrate", "up", **servers)
    assert (code, "applied 0001_foundation" in printed) == (0, True)
    assert (await offerhub(tmp_path, "migrate", "up", **servers))[1].strip() == "the schema is up to date"
    code, printed = await offerhub(tmp_path, "prove", "--json", **servers)
    assert code == 0
    assert json.loads(printed)["holds"] is True


async def test_prove_shows_the_offending_row_and_fails(
    tmp_path: Path, fresh_database_url: str, servers: dict[str, str]
) -> None:
    user_id = new_id("usr")
    legs = [Leg(DEFAULT_MARKETPLACE_ID, Kind.WORLD_MANUAL, -7_000_000), Leg(user_id, Kind.AVAILABLE, 7_000_000)]
    database = await Database.connect(fresh_database_url, pool_size=1)
    await database.run(
        lambda tx: ledger.post(tx, system(DEFAULT_MARKETPLACE_ID, "test"), Entry("k", "manual_credit", user_id, legs))
    )
    await database.close()
    servers |= {"DATABASE_URL": fresh_database_url}
    assert (await offerhub(tmp_path, "prove", **servers))[0] == 0

    connection = await asyncpg.connect(fresh_database_url)
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("UPDATE ledger.accounts SET balance = 8000000 WHERE owner = $1", user_id)
    await connection.close()
    code, printed = await offerhub(tmp_path, "prove", **servers)
    assert code == 1
    assert "I2 does not hold" in printed
    assert user_id in printed
    assert "8000000" in printed


async def test_every_fault_of_the_configuration_is_told_at_once_and_no_secret_is(tmp_path: Path) -> None:
    code, printed = await offerhub(
        tmp_path, "serve", NODE_ENV="production", STELLAR_NETWORK="moon", PORT="99999", WALLET_ENCRYPTION_KEY="abc"
    )
    assert code == 2
    for name in ("DATABASE_URL", "REDIS_URL", "STELLAR_NETWORK", "PORT", "WALLET_ENCRYPTION_KEY"):
        assert name in printed
    assert SECRET not in printed
    assert "Traceback" not in printed


async def test_a_service_that_cannot_open_its_wallets_does_not_start(
    tmp_path: Path, fresh_database_url: str, servers: dict[str, str]
) -> None:
    """Changing the master key alone changes the derived wallet key: found at the start, not at a withdrawal."""
    servers |= {"DATABASE_URL": fresh_database_url, "STELLAR_HORIZON_URL": "http://127.0.0.1:1"}
    code, printed = await offerhub(tmp_path, "bootstrap", **servers)
    assert (code, "platform wallet G" in printed) == (0, True)
    code, printed = await offerhub(tmp_path, "bootstrap", **servers | {"OFFERHUB_MASTER_KEY": SECRET + " changed"})
    assert code == 2
    assert "sealed with another key" in printed
    assert "Traceback" not in printed


async def test_an_unreachable_server_is_a_sentence(tmp_path: Path) -> None:
    code, printed = await offerhub(
        tmp_path, "migrate", "status", DATABASE_URL="postgresql://a:b@127.0.0.1:1/x", REDIS_URL="redis://127.0.0.1:1"
    )
    assert code == 2
    assert "a server cannot be used" in printed
    assert "Traceback" not in printed


async def test_prove_does_not_make_a_database_to_prove(tmp_path: Path) -> None:
    code, printed = await offerhub(tmp_path, "prove")
    assert (code, "there is no database" in printed) == (2, True)
    assert not (tmp_path / ".offerhub" / "services").exists()


async def test_help_says_what_each_command_does(tmp_path: Path) -> None:
    code, printed = await offerhub(tmp_path, "--help")
    assert code == 0
    for name in ("serve", "worker", "dev", "demo", "sandbox", "migrate", "prove", "bootstrap", "wallets"):
        line = next(line for line in printed.splitlines() if line.strip("│ ").startswith(f"{name} "))
        assert len(line.strip("│ ").split()) > 3


@pytest.mark.parametrize(("command", "ready"), [("worker", "offerhub worker ready"), ("serve", "offerhub ready")])
async def test_a_process_tells_its_metrics_on_a_port_of_its_own(
    command: str,
    ready: str,
    tmp_path: Path,
    fresh_database_url: str,
    own_redis: OwnRedis,
    sandbox_environ: dict[str, str],
) -> None:
    await own_redis.start()
    with socket.create_server(("127.0.0.1", 0)) as probe, socket.create_server(("127.0.0.1", 0)) as other:
        port, api_port = probe.getsockname()[1], other.getsockname()[1]
    variables = {"DATABASE_URL": fresh_database_url, "REDIS_URL": own_redis.url}
    variables |= {"METRICS_PORT": str(port), "PORT": str(api_port)}
    worker = await started(tmp_path, command, **{**sandbox_environ, **variables})
    try:
        assert worker.stdout is not None
        while ready not in (line := (await worker.stdout.readline()).decode()):
            assert line, "the process did not start"
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            async with http.get("/health") as heard:
                assert (await heard.json())["status"] == "healthy"
            async with http.get("/metrics") as heard:
                assert (await heard.text()).count('offerhub_metrics_source_up{source="queues"} 1.0') == 1
    finally:
        worker.terminate()
        printed, _ = await worker.communicate()
    assert worker.returncode == 0, printed.decode()[-3000:]

"""`offerhub wallets status` and `rotate` as an operator meets them: exit codes, remedies, JSON, and SIGKILL."""

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.kernel.ids import new_id
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Vault
from offerhub.wallets.keyring import Keyring
from support.command import offerhub, started

ONE, TWO, WRONG = "11" * 32, "22" * 32, "33" * 32
FIRST = {"WALLET_ENCRYPTION_KEY": ONE, "OFFERHUB_WALLET_KEY_VERSION": "1"}
SECOND = {"WALLET_ENCRYPTION_KEY": TWO, "OFFERHUB_WALLET_KEY_VERSION": "2"}
BOTH = SECOND | {"WALLET_ENCRYPTION_KEYS_PREVIOUS": f"1:{ONE}"}


@pytest.fixture
async def servers(tmp_path: Path, fresh_database_url: str, redis_url: str) -> dict[str, str]:
    """A database with the two wallets of the service, under the first key."""
    found = {
        "REDIS_URL": redis_url,
        "DATABASE_URL": fresh_database_url,
        "STELLAR_HORIZON_URL": "http://127.0.0.1:1",
        "LOG_LEVEL": "error",
        "STELLAR_CHANNEL_ACCOUNTS": "0",
    }
    code, printed = await offerhub(tmp_path, "bootstrap", **found, **FIRST)
    assert code == 0, printed
    return found


async def asked(folder: Path, *words: str, **variables: str) -> tuple[int, dict[str, Any]]:
    """A command's exit status and its JSON; no key may be in it."""
    code, printed = await offerhub(folder, "wallets", *words, "--json", **variables)
    assert not any(key in printed for key in (ONE, TWO, WRONG))
    return code, json.loads(printed)


async def fill(connection: "asyncpg.Connection[asyncpg.Record]", count: int) -> None:
    """Wallets under the first key, of users of their own."""
    vault = Vault({1: bytes.fromhex(ONE)}, 1)
    keyring = Keyring(Database(None), vault, "")  # type: ignore[arg-type] - it makes keys, and asks no database
    for _ in range(count):
        user_id, (address, sealed) = new_id("usr"), keyring.make()
        await connection.execute(
            "INSERT INTO users (id, marketplace_id, external_user_id, type) VALUES ($1, $2, $1, 'BOTH')",
            user_id,
            DEFAULT_MARKETPLACE_ID,
        )
        await connection.execute(
            """
            INSERT INTO wallets (id, marketplace_id, user_id, purpose, public_key, secret_blob, key_version)
            VALUES ($1, $2, $3, 'user', $4, $5, $6)
            """,
            new_id("wal"),
            DEFAULT_MARKETPLACE_ID,
            user_id,
            address,
            sealed.blob,
            sealed.version,
        )


async def test_a_start_without_the_old_key_names_the_remedy(tmp_path: Path, servers: dict[str, str]) -> None:
    code, printed = await offerhub(tmp_path, "bootstrap", **servers, **SECOND)
    assert code == 2
    assert "Traceback" not in printed
    words = " ".join(printed.split())
    assert "under key version 1, for which there is no key" in words
    assert "WALLET_ENCRYPTION_KEYS_PREVIOUS" in words
    code, found = await asked(tmp_path, "status", **servers, **SECOND)
    assert (code, found["missingVersions"], found["walletsByVersion"]) == (1, [1], {"1": 2})


async def test_rotate_and_the_old_key_may_go(tmp_path: Path, servers: dict[str, str]) -> None:
    code, found = await asked(tmp_path, "rotate", "--dry-run", **servers, **BOTH)
    assert (code, found["dryRun"], found["rotatedWallets"], found["walletsByVersion"]) == (0, True, 2, {"1": 2})
    code, printed = await offerhub(tmp_path, "wallets", "rotate", **servers, **BOTH)
    assert code == 0
    assert "2 wallets, 0 webhook secrets and 0 kept answers sealed under version 2" in printed
    code, found = await asked(tmp_path, "status", **servers, **SECOND)
    assert (code, found["walletsByVersion"], found["knownVersions"]) == (0, {"2": 2}, [2])
    assert (await offerhub(tmp_path, "bootstrap", **servers, **SECOND))[0] == 0
    assert (await asked(tmp_path, "rotate", **servers, **SECOND))[1]["rotatedWallets"] == 0


async def test_wallets_under_another_key_of_that_version_are_named(tmp_path: Path, servers: dict[str, str]) -> None:
    wrong = SECOND | {"WALLET_ENCRYPTION_KEYS_PREVIOUS": f"1:{WRONG}"}
    for words in (["rotate", "--dry-run"], ["rotate"]):
        code, found = await asked(tmp_path, *words, **servers, **wrong)
        assert (code, found["rotatedWallets"], found["walletsByVersion"]) == (1, 0, {"1": 2})
        assert len(found["unreadable"]) == 2
    code, printed = await offerhub(tmp_path, "wallets", "rotate", **servers, **wrong)
    assert code == 1
    assert all(f"does not open: {wallet_id}" in printed for wallet_id in found["unreadable"])
    code, printed = await offerhub(tmp_path, "bootstrap", **servers, **wrong)
    assert (code, "sealed with another key" in " ".join(printed.split())) == (2, True)


async def test_a_batch_has_bounds(tmp_path: Path, servers: dict[str, str]) -> None:
    for batch in ("0", "5001", "many"):
        code, printed = await offerhub(tmp_path, "wallets", "rotate", "--batch", batch, **servers, **BOTH)
        assert code != 0
        assert "Traceback" not in printed


async def test_killed_by_sigkill_it_is_run_again(tmp_path: Path, servers: dict[str, str]) -> None:
    connection = await asyncpg.connect(servers["DATABASE_URL"])
    await fill(connection, 300)

    async def counted() -> dict[int, int]:
        return dict(await connection.fetch("SELECT key_version, count(*) FROM wallets GROUP BY 1"))

    total = sum((await counted()).values())
    process = await started(tmp_path, "wallets", "rotate", "--batch", "1", **servers, **BOTH)
    while not (await counted()).get(2):
        assert process.returncode is None
        await asyncio.sleep(0.005)
    process.kill()
    await process.wait()
    left = await counted()
    assert left[1] + left[2] == total
    assert left[1] > 0, "it was killed half way"
    code, found = await asked(tmp_path, "rotate", **servers, **BOTH)
    assert (code, found["rotatedWallets"], found["walletsByVersion"]) == (0, left[1], {"2": total})
    await connection.close()

"""`offerhub audit` as an auditor runs it: what it prints, what it exits with, and that it names what was changed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.audit.chain import Sealer
from offerhub.events.journal import AuditEntry, record
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Vault
from offerhub.settings import derive_key
from support.command import MASTER_KEY, offerhub


@pytest.fixture
async def trail(fresh_database_url: str) -> AsyncIterator[Database]:
    """Three sealed entries."""
    database = await Database.connect(fresh_database_url, pool_size=1)
    actor = system(DEFAULT_MARKETPLACE_ID, "test")
    entries = [AuditEntry(f"STEP_{number}", "Order", "ord_1") for number in (1, 2, 3)]
    await database.run(lambda tx: record(tx, actor, audit=entries))
    await database.run(Sealer(Vault({1: derive_key(MASTER_KEY, "wallet-encryption")}, 1)).seal)
    yield database
    await database.close()


async def test_the_trail_is_verified_exported_and_an_edit_is_named(
    trail: Database, fresh_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    servers = {"DATABASE_URL": fresh_database_url, "REDIS_URL": redis_url}
    code, printed = await offerhub(tmp_path, "audit", "verify", **servers)
    assert code == 0
    assert "intact: 3 entries under 1 seals, 0 not sealed yet" in printed
    head = printed.strip().rsplit("head ", 1)[1]

    code, printed = await offerhub(tmp_path, "audit", "export", "--out", "trail.txt", **servers)
    assert (code, f"head {head}" in printed) == (0, True)
    assert (tmp_path / "trail.txt").read_text().count("\n") == 3
    assert (await offerhub(tmp_path, "audit", "verify", "--file", "trail.txt", "--head", head))[0] == 0
    code, printed = await offerhub(tmp_path, "audit", "export", "--out", "trail.txt", **servers)
    assert (code, "trail.txt cannot be written" in printed) == (2, True)

    await trail.script(
        "SET session_replication_role = replica; UPDATE audit_entries SET actor_id = 'x' WHERE action = 'STEP_2'; "
        "SET session_replication_role = origin"
    )
    code, printed = await offerhub(tmp_path, "audit", "verify", "--json", **servers)
    told = json.loads(printed)
    assert (code, told["holds"], told["head"], [one["sequence"] for one in told["findings"]]) == (1, False, head, [2])
    code, printed = await offerhub(tmp_path, "audit", "verify", **servers)
    assert (code, "NOT intact" in printed) == (1, True)
    code, printed = await offerhub(tmp_path, "audit", "verify", "--head", "nonsense", **servers)
    assert (code, "--head must be" in printed) == (2, True)

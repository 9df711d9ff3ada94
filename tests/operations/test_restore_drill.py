"""The drill: a backup under load, restored elsewhere, proven, and reconciled with what the chain did since."""

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from offerhub.app import product
from offerhub.cli.backup import Manifest, manifest_of, write_backup
from offerhub.cli.environment import CommandError
from offerhub.cli.restore import HELD_DAYS, hold, load_backup, read_manifest, verify_restored
from offerhub.escrows.jobs import compare_escrows
from offerhub.operations.store import backup_state
from offerhub.runtime.database import Database
from offerhub.settings import load
from support.command import offerhub
from support.outside import World, eventually
from support.product import MASTER_KEY, Marketplace, Person, Running, running

UNIT: Final = 10_000_000


@contextlib.asynccontextmanager
async def load_on(shop: Marketplace, person: Person) -> AsyncIterator[Callable[[], int]]:
    """Somebody who is credited again and again; yields how often it was done by now."""
    done = 0
    stop = asyncio.Event()

    async def work() -> None:
        nonlocal done
        while not stop.is_set():
            await shop.credit(person, "1.00")
            done += 1

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(work()) for _ in range(3)]
        try:
            yield lambda: done
        finally:
            stop.set()
            await asyncio.wait(workers)


async def more(count: Callable[[], int]) -> None:
    """Wait until the load has done something more."""
    before = count()

    async def now() -> int:
        return count()

    await eventually(now, lambda done: done > before)


async def reconcile(live: Running) -> set[tuple[str, str]]:
    """Look at escrows and totals as the jobs do, not waiting for their time; kind and subject of what is open."""
    made = live.product
    await compare_escrows(
        made.database, made.trustless_work, made.engine, made.clock, limit=50, stale_seconds=0, pause_seconds=0
    )
    totals = next(job for job in made.reconciliation._jobs.values() if job.type == "reconcile-totals")
    for _ in range(2):  # a difference counts once two looks in a row have seen it
        await made.reconciliation.run(totals)
    rows = await live.rows("SELECT kind, subject_id FROM findings WHERE status = 'OPEN'")
    return {(row["kind"], row["subject_id"]) for row in rows}


async def test_a_backup_under_load_comes_back_and_the_chain_tells_the_rest(
    tmp_path: Path,
    office_environ: dict[str, str],
    empty_database_url: str,
    world: World,
    http: aiohttp.ClientSession,
) -> None:
    file, settings = tmp_path / "books.dump", load(office_environ)
    async with running(office_environ) as live:
        shop = await Marketplace.found(live, world, http)
        buyer, seller, saver = await shop.people("500", None, "100")
        released = await shop.order(buyer, seller, "80.00", "IN_PROGRESS")
        outside, _ = await world.outside_wallet("1")
        async with load_on(shop, seller) as count:
            await more(count)
            manifest = await write_backup(settings, file)
            await more(count)
        credited = (await shop.units(seller.id))["available"]
        # What the backup does not know: a deposit, a withdrawal and a release.
        await shop.deposit(saver, "40")
        body = {"userId": saver.id, "amount": "25.00", "destinationType": "crypto", "destinationRef": outside}
        assert (await shop.done("POST", "/withdrawals", body, status=201))["status"] == "WITHDRAWAL_COMPLETED"
        assert (await shop.done("POST", f"/orders/{released}/resolution/release"))["status"] == "CLOSED"
        assert await shop.units(saver.id) == {"available": 115 * UNIT}

    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(manifest_of(file).stat().st_mode) == 0o600
    assert read_manifest(file) == manifest
    await load_backup(file, manifest, empty_database_url)
    verified = await verify_restored(manifest, empty_database_url, settings.keys)
    assert verified.faults == []
    assert verified.proof.postings == manifest.rows["ledger.postings"] > 0
    await hold(manifest, empty_database_url)

    async with running({**office_environ, "DATABASE_URL": empty_database_url}) as live:
        again = shop.on(live)
        refusal = await again.refused("POST", f"/users/{seller.id}/balance/credit", {"amount": "1.00"},
                                      status=503, code="MAINTENANCE_MODE")  # fmt: skip
        assert manifest.createdAt in refusal["message"]
        # The deposit comes by itself, once. The load that came after the snapshot is gone.
        await eventually(lambda: again.units(saver.id), lambda found: found == {"available": 140 * UNIT})
        assert (await again.units(seller.id))["available"] < credited
        # The rest is not guessed at: each is a finding with what to do.
        await live.deposits_caught_up()
        escrow = await live.value("SELECT id FROM escrows WHERE order_id = $1", released)
        found = await reconcile(live)
        assert found == {("PAID_OUT", escrow), ("WALLET_DIFFERS", saver.id), ("WALLET_DIFFERS", seller.id)}
        await settle_by_hand(again, live, saver, seller, released)
        await live.assert_books_hold()


async def settle_by_hand(shop: Marketplace, live: Running, saver: Person, seller: Person, released: str) -> None:
    """As docs/operating/backup.md says: what the chain has paid is booked by hand, and nothing is paid again."""
    operator = shop.using(MASTER_KEY)
    await operator.done("POST", "/admin/maintenance/disable")
    # The contract has paid out: a second release is refused, and moves nothing.
    await shop.refused("POST", f"/orders/{released}/resolution/release", status=502, code="PROVIDER_ERROR")
    await shop.done("POST", f"/users/{saver.id}/balance/debit", {"amount": "25.00", "reference": "wd_lost"})
    await shop.done("POST", f"/users/{seller.id}/balance/credit", {"amount": "79.76", "reference": released})
    listed = await operator.done("GET", "/admin/reconciliation/findings?status=OPEN")
    for one in listed:
        decision = "acknowledge" if one["kind"] == "PAID_OUT" else "resolve"
        path = f"/admin/reconciliation/findings/{one['id']}/{decision}"
        await operator.done("POST", path, {"reason": "Paid between the backup and the outage."})
    assert await reconcile(live) == set()
    assert await shop.units(saver.id) == {"available": 115 * UNIT}


@pytest.fixture
async def backed_up(tmp_path: Path, fresh_database_url: str, redis_url: str) -> tuple[Path, Manifest, dict[str, str]]:
    """A backup of a new database with the service's own wallets, and the variables of its keys."""
    environ = {"DATABASE_URL": fresh_database_url, "REDIS_URL": redis_url, "WALLET_ENCRYPTION_KEY": "1f" * 32,
               "OFFERHUB_MASTER_KEY": "tests", "LOG_LEVEL": "error"}  # fmt: skip
    async with product(load(environ)) as made:
        await made.bootstrap()
    file = tmp_path / "books.dump"
    return file, await write_backup(load(environ), file), environ


async def test_the_commands_and_what_they_refuse(
    tmp_path: Path, backed_up: tuple[Path, Manifest, dict[str, str]], empty_database_url: str
) -> None:
    file, manifest, environ = backed_up
    code, printed = await offerhub(tmp_path, "backup", str(file), **environ)
    assert (code, "is there already" in printed) == (2, True)
    code, printed = await offerhub(tmp_path, "backup", "again.dump", "--json", **environ)
    assert (code, json.loads(printed)["rows"]) == (0, manifest.rows)
    with pytest.raises(CommandError, match="is not empty, and is left as it is"):
        await load_backup(file, manifest, environ["DATABASE_URL"])

    wrong = {**environ, "RESTORE_DATABASE_URL": empty_database_url, "WALLET_ENCRYPTION_KEY": "2e" * 32}
    code, printed = await offerhub(tmp_path, "restore", str(file), "--verify", **wrong)
    assert (code, "NOT verified" in printed) == (1, True), printed
    assert "do not open with the keys that are set here" in printed
    verified = await verify_restored(manifest, empty_database_url, load(environ).keys)
    assert len(verified.faults) == 1, "an entry more: restore has switched maintenance on"
    assert "audit_entries" in verified.faults[0]


async def test_a_backup_is_in_the_trail_and_its_age_is_told(
    tmp_path: Path, backed_up: tuple[Path, Manifest, dict[str, str]]
) -> None:
    _, _, environ = backed_up
    connection = await asyncpg.connect(environ["DATABASE_URL"])
    database = await Database.connect(environ["DATABASE_URL"], pool_size=1)

    async def age() -> float | None:
        return (await database.run(backup_state, read_only=True))[0]

    await connection.execute("UPDATE schema_migrations SET applied_at = applied_at - interval '3 days'")
    assert (await age() or 0) > 2 * 86_400, "an installation that has none is told of"
    code, printed = await offerhub(tmp_path, "backup", "noted.dump", "--json", **environ)
    assert code == 0, printed
    row = await connection.fetchrow("SELECT * FROM audit_entries WHERE action = 'BACKUP_CREATED'")
    assert row is not None
    assert (row["actor_id"], json.loads(row["payload_after"])["file"]) == ("system:backup", "noted.dump")
    assert json.loads(row["payload_after"])["sha256"] == json.loads(printed)["sha256"]
    assert 0 <= (await age() or -1) < 86_400

    # What cannot be written to, a standby for one, is backed up all the same.
    name = urlsplit(environ["DATABASE_URL"]).path[1:]
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    code, printed = await offerhub(tmp_path, "backup", "not-noted.dump", **environ)
    assert (code, "could not be noted" in printed) == (0, True), printed
    assert read_manifest(tmp_path / "not-noted.dump").rows["audit_entries"] > 0
    await database.close()
    await connection.close()


async def test_a_backup_that_was_touched_is_not_restored(
    backed_up: tuple[Path, Manifest, dict[str, str]], empty_database_url: str
) -> None:
    file, _, _ = backed_up
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CommandError, match="its SHA-256 differs"):
        read_manifest(file)
    manifest_of(file).unlink()
    with pytest.raises(CommandError, match="cannot be read"):
        read_manifest(file)


async def test_without_the_programs_it_says_what_to_install(tmp_path: Path, fresh_database_url: str) -> None:
    settings = load({"OFFERHUB_MASTER_KEY": "x", "DATABASE_URL": fresh_database_url, "REDIS_URL": "redis://h"})
    with pytest.raises(CommandError, match="install postgresql-client-"):
        await write_backup(settings, tmp_path / "books.dump", tmp_path)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_what_was_under_way_is_held_back(backed_up: tuple[Path, Manifest, dict[str, str]]) -> None:
    _, manifest, environ = backed_up
    connection = await asyncpg.connect(environ["DATABASE_URL"])
    under_way = await connection.fetchval("SELECT count(*) FROM sagas WHERE status = 'RUNNING'")
    held = await hold(manifest, environ["DATABASE_URL"])
    assert len(held) == under_way > 0
    waits = "SELECT min(next_attempt_at) > now() + make_interval(days => $1) FROM sagas WHERE status = 'RUNNING'"
    assert await connection.fetchval(waits, HELD_DAYS - 1)
    await connection.close()

"""Sealing wallets anew: all of them, once, whatever happens in between; none is lost, none left out silently."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.kernel.clock import SystemClock
from offerhub.kernel.ids import new_id
from offerhub.operations.store import key_ages
from offerhub.providers.stellar.keys import address_of
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database, Row, Tx
from offerhub.runtime.vault import Vault
from offerhub.wallets import rotation, store
from offerhub.wallets.keyring import Keyring, MissingWalletKeys
from offerhub.wallets.rotation import Rotated, Rotation

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
BEFORE, DURING, AFTER = Vault({1: OLD}, 1), Vault({1: OLD, 2: NEW}, 2), Vault({2: NEW}, 2)
ACTOR = system(DEFAULT_MARKETPLACE_ID, "rotation")


class Died(Exception):
    """The process is gone."""


@dataclass
class Fuse:
    """Kills at the n-th point; a point is before or after a statement. From there on everything fails."""

    points: int
    burnt: int = 0

    def before(self, sql: str) -> None:
        if sql != "ROLLBACK":
            self._tick()

    def after(self, sql: str) -> None:
        self.before(sql)

    def _tick(self) -> None:
        self.burnt += 1
        if self.burnt >= self.points:
            raise Died


class QuickClock(SystemClock):
    """Nobody waits for long."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


@dataclass
class Safe:
    """A database with wallets in it."""

    url: str
    database: Database
    addresses: list[str] = field(default_factory=list)

    def keyring(self, vault: Vault, database: Database | None = None) -> Keyring:
        return Keyring(database or self.database, vault, "a network")

    async def fill(self, count: int, vault: Vault = BEFORE) -> list[str]:
        """New wallets of new users; returns their ids."""
        keyring = self.keyring(vault)

        async def inserting(tx: Tx) -> list[str]:
            made = []
            for _ in range(count):
                user_id, (address, sealed) = new_id("usr"), keyring.make()
                await tx.execute(
                    "INSERT INTO users (id, marketplace_id, external_user_id, type) VALUES ($1, $2, $1, 'BOTH')",
                    user_id,
                    DEFAULT_MARKETPLACE_ID,
                )
                wallet = await store.insert(tx, DEFAULT_MARKETPLACE_ID, user_id, "user", address, sealed)
                assert wallet is not None
                made.append(wallet.id)
                self.addresses.append(address)
            return made

        return await self.database.run(inserting)

    async def rotate(self, *, batch: int = 3, dry: bool = False, vault: Vault = DURING) -> Rotated:
        turn = Rotation(self.database, self.keyring(vault), vault.current, ACTOR, QuickClock(), batch=batch, dry=dry)
        return await turn.run(lambda seen: None)

    async def versions(self) -> dict[int, int]:
        return await rotation.wallets_by_version(self.database)

    async def opens(self, vault: Vault) -> int:
        """How many wallets open to the secret of their own address."""
        sealed = await self.database.run(lambda tx: store.sealed_secrets(tx, self.addresses), read_only=True)
        known = {address: one for address, one in sealed.items() if one.version in vault.keys}
        return sum(address_of(vault.open(one, bound_to=address)) == address for address, one in known.items())

    async def audited(self) -> list[Row]:
        return await self.database.run(
            lambda tx: tx.rows("SELECT * FROM audit_entries WHERE action = 'WALLETS_ROTATED' ORDER BY id")
        )


@pytest.fixture
async def safe(fresh_database_url: str) -> AsyncIterator[Safe]:
    database = await Database.connect(fresh_database_url, pool_size=6)
    yield Safe(fresh_database_url, database)
    await database.close()


async def test_all_wallets_are_sealed_anew_and_the_old_key_can_go(safe: Safe) -> None:
    await safe.fill(8)
    before = await safe.database.run(lambda tx: store.sealed_secrets(tx, safe.addresses))
    done = await safe.rotate()
    assert (done.wallets, done.unreadable) == (8, {})
    assert await safe.versions() == {2: 8}
    assert await safe.opens(AFTER) == 8
    after = await safe.database.run(lambda tx: store.sealed_secrets(tx, safe.addresses))
    assert all(after[address].blob != before[address].blob for address in safe.addresses)
    await safe.keyring(AFTER).require_keys()
    entries = await safe.audited()
    assert [entry["payload_after"]["wallets"] for entry in entries] == [3, 3, 2]
    assert {(entry["payload_before"]["version"], entry["payload_after"]["version"]) for entry in entries} == {(1, 2)}
    assert {entry["actor_id"] for entry in entries} == {"system:rotation"}
    assert (await safe.rotate()).wallets == 0, "a second run has nothing to do"
    assert len(await safe.audited()) == 3


async def test_the_age_of_the_key_is_counted_from_its_last_replacement(safe: Safe) -> None:
    async def age() -> float | None:
        return (await safe.database.run(key_ages, read_only=True))[0]

    oldest = "SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8 FROM wallets"
    assert await age() is None, "there is no wallet yet"
    await safe.fill(2)
    assert await age() is not None
    await safe.rotate()
    replaced = await age()
    assert replaced is not None
    assert replaced < await safe.database.run(lambda tx: tx.value(oldest)), "the wallets are older than their key"


async def test_a_dry_run_changes_nothing(safe: Safe) -> None:
    await safe.fill(4)
    before = await safe.database.run(lambda tx: store.sealed_secrets(tx, safe.addresses))
    assert (await safe.rotate(dry=True)).wallets == 4
    assert await safe.database.run(lambda tx: store.sealed_secrets(tx, safe.addresses)) == before
    assert await safe.audited() == []


async def test_wallets_that_do_not_open_are_named_and_the_others_go_on(safe: Safe) -> None:
    await safe.fill(3)
    [wrong] = await safe.fill(1, Vault({1: OTHER}, 1))
    await safe.fill(2)
    [unknown] = await safe.fill(1, Vault({7: OTHER}, 7))
    for _ in range(2):
        done = await safe.rotate()
        assert set(done.unreadable) == {wrong, unknown}
        assert "version 7" in done.unreadable[unknown]
        assert await safe.versions() == {1: 1, 2: 5, 7: 1}
    assert await safe.opens(AFTER) == 5
    named = [entry["payload_after"].get("unreadable") for entry in await safe.audited()]
    assert [wrong] in named
    with pytest.raises(MissingWalletKeys, match="key version 1, 7"):
        await safe.keyring(AFTER).require_keys()


async def test_each_version_is_tried_on_a_wallet_of_its_own(safe: Safe) -> None:
    assert await safe.keyring(DURING).opens_by_version() == {}, "there is no wallet yet"
    await safe.fill(2)
    await safe.fill(2, AFTER)
    await safe.fill(1, Vault({7: OTHER}, 7))
    assert await safe.keyring(DURING).opens_by_version() == {1: True, 2: True, 7: False}, "7 has no key here"
    edited = Vault({1: OTHER, 2: NEW}, 2)
    assert await safe.keyring(edited).opens_by_version() == {1: False, 2: True, 7: False}, "1 has another one"


async def test_killed_anywhere_it_loses_nothing_and_goes_on(safe: Safe) -> None:
    """Before and after every statement, BEGIN and COMMIT included; each time the next run finishes the rest."""
    await safe.fill(4)
    finished, points = False, 0
    vaults = [DURING, Vault({2: NEW, 3: OTHER}, 3)]
    while not finished:
        points += 1
        fuse = Fuse(points)
        dying = await Database.connect(safe.url, pool_size=1, hook=fuse)
        turn = Rotation(dying, safe.keyring(vaults[0], dying), vaults[0].current, ACTOR, QuickClock(), batch=2)
        try:
            await turn.run(lambda seen: None)
            finished = True
        except Died:
            assert await safe.opens(vaults[0]) == 4, f"killed at point {points}"
            assert sum((await safe.versions()).values()) == 4
        finally:
            await dying.close()
        current = vaults[0].current
        await safe.rotate(vault=vaults[0])
        assert await safe.versions() == {current: 4}
        assert await safe.opens(Vault({current: vaults[0].keys[current]}, current)) == 4
        following = current + 1
        keys = {current: vaults[0].keys[current], following: bytes([following]) * 32}
        vaults = [Vault(keys, following)]
    assert points > 15, "there were points to die at"


async def test_two_runs_at_once_share_the_work(safe: Safe) -> None:
    await safe.fill(20)
    first, second = await asyncio.gather(safe.rotate(batch=2), safe.rotate(batch=2))
    assert first.wallets + second.wallets == 20
    assert await safe.versions() == {2: 20}
    assert sum(entry["payload_after"]["wallets"] for entry in await safe.audited()) == 20
    assert await safe.opens(AFTER) == 20


async def test_a_wallet_that_somebody_holds_is_passed_over_and_met_again(safe: Safe) -> None:
    held, *_ = await safe.fill(3)
    free, taken = asyncio.Event(), asyncio.Event()

    async def holding(tx: Tx) -> None:
        await tx.execute("SELECT FROM wallets WHERE id = $1 FOR UPDATE", held)
        taken.set()
        await free.wait()

    holder = asyncio.create_task(safe.database.run(holding))
    await taken.wait()
    turn = asyncio.create_task(safe.rotate())
    while (await safe.versions()).get(2) != 2:
        assert not turn.done()
        await asyncio.sleep(0.01)
    assert not turn.done(), "the held one is still to come"
    free.set()
    await holder
    assert (await turn).wallets == 3
    assert await safe.versions() == {2: 3}


async def test_a_wallet_made_under_the_old_key_meanwhile_is_sealed_anew_too(safe: Safe) -> None:
    """While processes are replaced one by one, those that still have the old key make wallets under it."""
    await safe.fill(5)
    turn = Rotation(safe.database, safe.keyring(DURING), 2, ACTOR, QuickClock(), batch=1)
    made: list[asyncio.Task[list[str]]] = []
    done = await turn.run(lambda seen: made.append(asyncio.create_task(safe.fill(1))) if len(made) < 3 else None)
    await asyncio.gather(*made)
    await safe.rotate()
    assert done.wallets >= 5
    assert await safe.versions() == {2: 8}
    assert await safe.opens(AFTER) == 8

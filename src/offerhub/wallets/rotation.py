"""Sealing all wallets anew under the current key, while the service runs.

A batch is one transaction: its wallets are locked (what somebody else holds is passed over and met again), each
secret is opened and sealed inside the keyring, and put in the place of exactly the one that was read. Whatever is
killed in between leaves every wallet whole under one key or the other, and the next run goes on from there. A wallet
that opens under no key that we have stays as it is, and is named.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from offerhub.events.journal import AuditEntry, record
from offerhub.kernel.clock import Clock
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.vault import Sealed, VaultError
from offerhub.wallets import store
from offerhub.wallets.keyring import Keyring

BATCH_DEFAULT: Final = 200
BATCH_MAX: Final = 5_000
ROUNDS_MAX: Final = 20
"""How often wallets that somebody else holds are looked for again before the run ends without them."""
ROUND_SECONDS: Final = 0.5
UNREADABLE_SHOWN_MAX: Final = 20
"""How many wallets that do not open an audit entry names; the command names all."""

Progress = Callable[[int], None]
"""Told how many more wallets have been dealt with."""


@dataclass(slots=True)
class Rotated:
    """What a run has done: wallets sealed anew, and id to reason of those that did not open."""

    wallets: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Batch:
    last_id: str | None
    rotated: int
    unreadable: dict[str, str]


async def wallets_by_version(database: Database) -> dict[int, int]:
    """How many wallets each version of the key seals."""
    return await database.run(store.count_by_key_version, read_only=True)


class Rotation:
    """One run. With `dry` every secret is opened, and nothing is written."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        current: int,
        actor: Actor,
        clock: Clock,
        *,
        batch: int = BATCH_DEFAULT,
        dry: bool = False,
    ) -> None:
        assert 1 <= batch <= BATCH_MAX
        self._database = database
        self._keyring = keyring
        self._current = current
        self._actor = actor
        self._clock = clock
        self._batch = batch
        self._dry = dry

    async def run(self, progress: Progress) -> Rotated:
        """Go through all wallets under another key, and again while new ones turn up there or some are held."""
        done = Rotated()
        for _ in range(ROUNDS_MAX):
            for version in await self._others():
                await self._go_through(version, done, progress)
            if self._dry or await self._is_finished(done):
                break
            await self._clock.sleep(ROUND_SECONDS)
        return done

    async def _others(self) -> list[int]:
        used = await self._database.run(store.key_versions, read_only=True)
        return [version for version in used if version != self._current]

    async def _is_finished(self, done: Rotated) -> bool:
        counted = await wallets_by_version(self._database)
        return sum(n for version, n in counted.items() if version != self._current) <= len(done.unreadable)

    async def _go_through(self, version: int, done: Rotated, progress: Progress) -> None:
        after = ""
        while True:
            batch = await self._database.run(partial(self._rotate, version=version, after=after))
            if batch.last_id is None:
                return
            after = batch.last_id
            done.wallets += batch.rotated
            known = len(done.unreadable)
            done.unreadable |= batch.unreadable
            progress(batch.rotated + len(done.unreadable) - known)

    async def _rotate(self, tx: Tx, version: int, after: str) -> _Batch:
        found = await store.sealed_under(tx, version, after, self._batch, lock=not self._dry)
        if not found:
            return _Batch(None, 0, {})
        changes: list[tuple[str, Sealed, Sealed]] = []
        unreadable: dict[str, str] = {}
        for wallet_id, public_key, sealed in found:
            try:
                changes.append((wallet_id, sealed, self._keyring.reseal(public_key, sealed)))
            except VaultError as error:
                unreadable[wallet_id] = str(error)
        if changes and not self._dry:
            replaced = await store.replace_secrets(tx, changes)
            assert replaced == len(changes), "a locked wallet changed"
            await record(tx, self._actor, audit=[self._entry(version, changes, unreadable)])
        return _Batch(found[-1][0], len(changes), unreadable)

    def _entry(
        self, version: int, changes: list[tuple[str, Sealed, Sealed]], unreadable: dict[str, str]
    ) -> AuditEntry:
        named = {"first": changes[0][0], "last": changes[-1][0], "wallets": len(changes)}
        if unreadable:
            named |= {"unreadable": sorted(unreadable)[:UNREADABLE_SHOWN_MAX]}
        return AuditEntry(
            "WALLETS_ROTATED",
            "Wallet",
            f"version-{self._current}",
            {"version": version},
            {"version": self._current} | named,
        )

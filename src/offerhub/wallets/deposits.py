"""The deposit watcher: one stream of the network's payments books what arrives at any wallet of ours.

The credits of a page and the cursor behind it commit together, so a crash repeats the page and changes nothing
twice; credits are keyed by operation and index, because one transaction may hold many (I11). A record that cannot
be booked is put aside with its reason and the cursor moves on.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import asyncpg
import structlog

from offerhub.errors import Refusal, StellarNetworkError
from offerhub.events.catalogue import deposit_credited
from offerhub.events.journal import record
from offerhub.kernel.clock import Clock
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Entry, Leg, post
from offerhub.providers.stellar.horizon import CursorTooOld, Horizon
from offerhub.providers.stellar.records import Transfer, TransferPage
from offerhub.runtime.actor import system
from offerhub.runtime.database import UNREACHABLE, Database, Tx, heed_cancellation
from offerhub.wallets import store

STREAM: Final = "deposits:horizon"
BEGINNING: Final = "0"
RETRY_SECONDS_MAX: Final = 15.0

log = structlog.get_logger("offerhub.deposits")


class CursorMoved(Exception):
    """Another watcher has booked this page; it is not booked again."""


class DepositWatcher:
    """Books the network's payments to our wallets. Any number may run; the cursor lets only one book a page."""

    def __init__(self, database: Database, horizon: Horizon, clock: Clock, poll_seconds: float) -> None:
        self._database = database
        self._horizon = horizon
        self._clock = clock
        self._poll_seconds = poll_seconds

    async def begin(self) -> None:
        """Set the cursor to the present if there is none: a fresh installation has no wallet to have missed."""
        if await self._database.run(lambda tx: store.cursor(tx, STREAM), read_only=True) is None:
            newest = await self._horizon.newest_payment_cursor() or BEGINNING
            await self._database.run(lambda tx: store.move_cursor(tx, STREAM, None, newest))

    async def watch(self) -> None:
        """Book pages until cancelled; an unreachable Horizon only delays."""
        failures = 0
        while True:
            try:
                await self.begin()
                full = await self.book_page()
                failures = 0
                delay = 0.0 if full else self._poll_seconds
            except CursorMoved:
                delay = self._poll_seconds
            except CursorTooOld as error:
                # History behind the cursor is gone: deposits in between are booked by hand, then the cursor is moved.
                delay = RETRY_SECONDS_MAX
                log.error("deposits_gap", error=str(error))  # noqa: TRY400 - the alarm, not its trace
            except (StellarNetworkError, *UNREACHABLE) as error:
                failures += 1
                delay = min(RETRY_SECONDS_MAX, self._poll_seconds * 2**failures)
                log.warning("deposits_delayed", error=str(error), failures=failures)
            heed_cancellation()
            await self._clock.sleep(delay)

    async def book_page(self) -> bool:
        """Book the next page; True when more is waiting. Raises StellarNetworkError, CursorMoved."""
        cursor = await self._database.run(lambda tx: store.cursor(tx, STREAM), read_only=True)
        page = await self._horizon.payments_after(cursor)
        if page.cursor is None or page.cursor == cursor:
            return False
        await self._database.run(lambda tx: self._book(tx, cursor, page))
        return page.is_full

    async def _book(self, tx: Tx, cursor: str | None, page: TransferPage) -> None:
        assert page.cursor is not None
        # The cursor first: its row lock keeps a second watcher out until this page is committed.
        if not await store.move_cursor(tx, STREAM, cursor, page.cursor):
            raise CursorMoved(page.cursor)
        for unreadable in page.unreadable:
            await store.quarantine(tx, STREAM, unreadable.paging_token, unreadable.record, unreadable.reason)
            log.error("deposit_quarantined", record=unreadable.paging_token, reason=unreadable.reason)
        usdc = self._horizon.network.usdc
        credits_ = [moved for moved in page.transfers if moved.asset == usdc and moved.amount > 0]
        if not credits_:
            return
        addresses = [moved.to_address for moved in credits_]
        owners = await store.owners(tx, addresses)
        treasuries = await store.treasury_owners(tx, addresses)
        ours = [moved for moved in credits_ if moved.to_address in owners or moved.to_address in treasuries]
        contracts = await store.escrow_contracts(tx, [moved.from_address for moved in ours])
        for moved in ours:
            if moved.from_address in contracts:
                continue  # the saga that released this escrow books what it paid out
            owner = owners.get(moved.to_address)
            if owner is None:
                booking = partial(book_capital, tx, treasuries[moved.to_address], moved)
            else:
                booking = partial(book, tx, owner["marketplace_id"], owner["user_id"], moved)
            await self._or_quarantine(tx, moved, booking)

    async def _or_quarantine(self, tx: Tx, moved: Transfer, booking: Callable[[], Awaitable[bool]]) -> None:
        await tx.execute("SAVEPOINT credit")
        try:
            await booking()
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
            raise
        except (Refusal, asyncpg.PostgresError) as error:
            await tx.execute("ROLLBACK TO SAVEPOINT credit")
            facts = {"hash": moved.transaction_hash, "to": moved.to_address, "amount": str(moved.amount)}
            await store.quarantine(tx, STREAM, f"{moved.operation_id}:{moved.index}", facts, str(error))
            log.exception("deposit_quarantined", operation=moved.operation_id)
        await tx.execute("RELEASE SAVEPOINT credit")


async def book_capital(tx: Tx, marketplace_id: str, moved: Transfer) -> bool:
    """Book what the operator has paid into the treasury; False when it has been booked before."""
    if not await store.insert_treasury_deposit(tx, marketplace_id, moved):
        return False
    operation = f"{moved.operation_id}:{moved.index}"
    legs = [
        Leg(marketplace_id, Kind.WORLD_TREASURY, -moved.amount),
        Leg(marketplace_id, Kind.CAPITAL_TREASURY, moved.amount),
    ]
    entry = Entry(f"treasury:deposit:{operation}", "treasury_deposit", moved.to_address, legs)
    await post(tx, system(marketplace_id, "deposits"), entry)
    log.info("treasury_deposit_booked", amount=int(moved.amount), operation=operation)
    return True


async def book(tx: Tx, marketplace_id: str, user_id: str, moved: Transfer) -> bool:
    """Credit one transfer to its user; False when it has been credited before."""
    if not await store.insert_deposit(tx, marketplace_id, user_id, moved):
        return False
    actor = system(marketplace_id, "deposits")
    operation = f"{moved.operation_id}:{moved.index}"
    around = await post(
        tx,
        actor,
        Entry(
            f"deposit:{operation}",
            "deposit",
            user_id,
            [
                Leg(marketplace_id, Kind.WORLD_STELLAR, -moved.amount),
                Leg(user_id, Kind.AVAILABLE, moved.amount),
            ],
        ),
    )
    available = around[user_id, Kind.AVAILABLE]
    event = deposit_credited(user_id, moved.amount, moved.transaction_hash, operation, available)
    await record(tx, actor, events=[event])
    log.info("deposit_credited", user_id=user_id, amount=int(moved.amount), operation=operation)
    return True

"""The deposit watcher: one stream of the network's payments books what arrives at any wallet of ours.

The credits of a page and the cursor behind it commit together, so a crash repeats the page and changes nothing
twice; credits are keyed by operation and index, because one transaction may hold many (I11). A record that cannot
be booked is put aside with its reason and the cursor moves on.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import asyncpg
import structlog

from offerhub.errors import Refusal, StellarNetworkError
from offerhub.events.catalogue import DepositSource, deposit_credited
from offerhub.events.journal import record
from offerhub.kernel.clock import Clock
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Entry, Leg, post
from offerhub.providers.stellar.horizon import CursorTooOld, Horizon
from offerhub.providers.stellar.network import Asset
from offerhub.providers.stellar.records import Transfer, TransferPage, Unreadable
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
        await book_credits(tx, self._horizon.network.usdc, page.transfers, page.unreadable, "stellar_deposit")


@dataclass(frozen=True, slots=True)
class Booked:
    """How many credits of a page were booked now, and how many records were put aside."""

    credited: int
    quarantined: int


async def book_credits(
    tx: Tx, usdc: Asset, transfers: Sequence[Transfer], unreadable: Sequence[Unreadable], source: DepositSource
) -> Booked:
    """Book what arrived at wallets of users and at the treasury, and put aside what cannot be read or booked.

    Safe to repeat and to race with itself: a credit is booked once for its operation and index, whoever sees it, and
    what is put aside stays a person's decision.
    """
    quarantined = 0
    for odd in unreadable:
        if await store.quarantine(tx, STREAM, odd.paging_token, odd.record, odd.reason):
            quarantined += 1
            log.error("deposit_quarantined", record=odd.paging_token, reason=odd.reason)
    credits_ = [moved for moved in transfers if moved.asset == usdc and moved.amount > 0]
    bookings = await _bookings(tx, credits_, source) if credits_ else []
    if not bookings:
        return Booked(0, quarantined)
    contracts = await store.escrow_contracts(tx, [moved.from_address for moved, _ in bookings])
    # A record that could not be read at all lies there under its operation alone.
    names = {name for moved, _ in bookings for name in (_operation(moved), moved.operation_id)}
    aside = await store.quarantined(tx, STREAM, sorted(names))
    credited = 0
    for moved, booking in bookings:
        if moved.from_address in contracts:
            continue  # the saga that released this escrow books what it paid out
        if _operation(moved) in aside or moved.operation_id in aside:
            continue
        booked = await _or_quarantine(tx, moved, booking)
        credited += booked is True
        quarantined += booked is None
    return Booked(credited, quarantined)


async def _bookings(
    tx: Tx, transfers: Sequence[Transfer], source: DepositSource
) -> list[tuple[Transfer, Callable[[], Awaitable[bool]]]]:
    """How to book each of these transfers that is ours."""
    addresses = [moved.to_address for moved in transfers]
    owners = await store.owners(tx, addresses)
    treasuries = await store.treasury_owners(tx, addresses)
    found: list[tuple[Transfer, Callable[[], Awaitable[bool]]]] = []
    for moved in transfers:
        owner = owners.get(moved.to_address)
        if owner is not None:
            found.append((moved, partial(book, tx, owner["marketplace_id"], owner["user_id"], moved, source)))
        elif moved.to_address in treasuries:
            found.append((moved, partial(book_capital, tx, treasuries[moved.to_address], moved)))
    return found


async def _or_quarantine(tx: Tx, moved: Transfer, booking: Callable[[], Awaitable[bool]]) -> bool | None:
    """True when it was booked now, False when it had been before, None when it was put aside."""
    booked: bool | None = None
    await tx.execute("SAVEPOINT credit")
    try:
        booked = await booking()
    except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
        raise
    except (Refusal, asyncpg.PostgresError) as error:
        await tx.execute("ROLLBACK TO SAVEPOINT credit")
        facts = {"hash": moved.transaction_hash, "to": moved.to_address, "amount": str(moved.amount)}
        await store.quarantine(tx, STREAM, _operation(moved), facts, str(error))
        log.exception("deposit_quarantined", operation=moved.operation_id)
    await tx.execute("RELEASE SAVEPOINT credit")
    return booked


def _operation(moved: Transfer) -> str:
    return f"{moved.operation_id}:{moved.index}"


async def book_capital(tx: Tx, marketplace_id: str, moved: Transfer) -> bool:
    """Book what the operator has paid into the treasury; False when it has been booked before."""
    if not await store.insert_treasury_deposit(tx, marketplace_id, moved):
        return False
    operation = _operation(moved)
    legs = [
        Leg(marketplace_id, Kind.WORLD_TREASURY, -moved.amount),
        Leg(marketplace_id, Kind.CAPITAL_TREASURY, moved.amount),
    ]
    entry = Entry(f"treasury:deposit:{operation}", "treasury_deposit", moved.to_address, legs)
    await post(tx, system(marketplace_id, "deposits"), entry)
    log.info("treasury_deposit_booked", amount=int(moved.amount), operation=operation)
    return True


async def book(
    tx: Tx, marketplace_id: str, user_id: str, moved: Transfer, source: DepositSource = "stellar_deposit"
) -> bool:
    """Credit one transfer to its user; False when it has been credited before."""
    if not await store.insert_deposit(tx, marketplace_id, user_id, moved):
        return False
    actor = system(marketplace_id, "deposits")
    operation = _operation(moved)
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
    event = deposit_credited(user_id, moved.amount, moved.transaction_hash, operation, available, source)
    await record(tx, actor, events=[event])
    log.info("deposit_credited", user_id=user_id, amount=int(moved.amount), operation=operation)
    return True

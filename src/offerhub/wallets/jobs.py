"""Background work on wallets: the search for deposits that the watcher missed (contract 8, `check-missed-deposits`).

The watcher reads one stream and cannot miss anything while its cursor is right. This asks the other way round, wallet
by wallet: is everything that the chain says has arrived booked, or put aside? It books through the watcher's own
function, so the two may race.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from offerhub.errors import StellarNetworkError
from offerhub.kernel.clock import Clock
from offerhub.providers.stellar.horizon import Horizon
from offerhub.providers.stellar.records import Transfer, TransferPage
from offerhub.runtime.database import Database, Row, Tx
from offerhub.wallets import store
from offerhub.wallets.deposits import Booked, book_credits

OVERLAP_SECONDS: Final = 3600
"""How much of what the last check has seen is looked at again."""
PAGES_MAX: Final = 25
"""How many pages of 200 operations are read of one wallet in one run."""

log = structlog.get_logger("offerhub.deposits")


@dataclass(frozen=True, slots=True)
class Report:
    """How many wallets were looked at, how many deposits were booked, and how often that was not possible."""

    checked: int
    credited: int
    failed: int


async def check_missed_deposits(
    database: Database,
    horizon: Horizon,
    clock: Clock,
    *,
    limit: int,
    lookback_seconds: float,
    pause_seconds: float,
) -> Report:
    """Look at `limit` wallets, the one checked longest ago first. When Horizon cannot be asked the rest waits."""
    wallets = await database.run(
        lambda tx: store.least_lately_checked(tx, limit, lookback_seconds, OVERLAP_SECONDS), read_only=True
    )
    checked = credited = failed = 0
    for wallet in wallets:
        try:
            booked, complete = await _check(database, horizon, clock, wallet, pause_seconds)
        except StellarNetworkError as error:
            log.warning("missed_deposits_delayed", wallet_id=wallet["id"], error=str(error))
            failed += 1
            break
        checked += 1
        credited += booked.credited
        failed += booked.quarantined + (not complete)
        await _note(database, wallet)
    return Report(checked, credited, failed)


async def _note(database: Database, wallet: Row) -> None:
    await database.run(lambda tx: store.checked(tx, wallet["id"], wallet["now"]))


async def _check(
    database: Database, horizon: Horizon, clock: Clock, wallet: Row, pause_seconds: float
) -> tuple[Booked, bool]:
    """What was booked of one wallet, and whether its history was read back to where it had to be."""
    credited = quarantined = 0
    before: str | None = None
    for _ in range(PAGES_MAX):
        page = await horizon.account_transfers(wallet["public_key"], before)
        booked = await _book(database, horizon, wallet, page)
        if booked.credited:
            log.warning("deposits_were_missed", wallet_id=wallet["id"], credited=booked.credited)
        credited += booked.credited
        quarantined += booked.quarantined
        await clock.sleep(pause_seconds)
        if not page.is_full or _reaches(page, wallet["since"]):
            return Booked(credited, quarantined), True
        before = page.cursor
    log.error("missed_deposits_history_too_long", wallet_id=wallet["id"], since=str(wallet["since"]))
    return Booked(credited, quarantined), False


async def _book(database: Database, horizon: Horizon, wallet: Row, page: TransferPage) -> Booked:
    arrived = [
        moved
        for moved in page.transfers
        if moved.to_address == wallet["public_key"] and moved.created_at >= wallet["since"]
    ]
    # Oldest first, as the watcher books: two that book in opposite order would wait for each other.
    arrived.sort(key=_place)

    async def book(tx: Tx) -> Booked:
        return await book_credits(tx, horizon.network.usdc, arrived, page.unreadable, "stellar_deposit_reconciled")

    return await database.run(book)


def _place(moved: Transfer) -> tuple[int, int]:
    return int(moved.operation_id), moved.index


def _reaches(page: TransferPage, since: datetime) -> bool:
    return any(moved.created_at < since for moved in page.transfers)

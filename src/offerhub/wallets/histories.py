"""The history of one wallet, read back from Horizon and booked: for whoever doubts the stream."""

from collections.abc import Callable
from typing import Final

import structlog

from offerhub.kernel.clock import Clock
from offerhub.providers.stellar.horizon import Horizon
from offerhub.providers.stellar.records import Transfer, TransferPage
from offerhub.runtime.database import Database, Tx
from offerhub.wallets.booking import Booked, book_credits

PAGES_MAX: Final = 25
"""How many pages of 200 operations are read of one wallet at a time."""

log = structlog.get_logger("offerhub.deposits")


async def book_history(
    database: Database,
    horizon: Horizon,
    clock: Clock,
    address: str,
    is_wanted: Callable[[Transfer], bool],
    pause_seconds: float,
) -> tuple[Booked, bool]:
    """Book what arrived at a wallet, newest first, back to the first credit that is not wanted any more.

    Returns what was booked, and whether the history was read back as far as that. Raises StellarNetworkError.
    """
    credited = quarantined = 0
    before: str | None = None
    for _ in range(PAGES_MAX):
        page = await horizon.account_transfers(address, before)
        booked = await _book(database, horizon, address, page, is_wanted)
        if booked.credited:
            log.warning("deposits_were_missed", address=address, credited=booked.credited)
        credited += booked.credited
        quarantined += booked.quarantined
        await clock.sleep(pause_seconds)
        if not page.is_full or not all(is_wanted(moved) for moved in page.transfers):
            return Booked(credited, quarantined), True
        before = page.cursor
    return Booked(credited, quarantined), False


async def _book(
    database: Database, horizon: Horizon, address: str, page: TransferPage, is_wanted: Callable[[Transfer], bool]
) -> Booked:
    arrived = [moved for moved in page.transfers if moved.to_address == address and is_wanted(moved)]
    # Oldest first, as the watcher books: two that book in opposite order would wait for each other.
    arrived.sort(key=_place)

    async def book(tx: Tx) -> Booked:
        return await book_credits(tx, horizon.network.usdc, arrived, page.unreadable, "stellar_deposit_reconciled")

    return await database.run(book)


def _place(moved: Transfer) -> tuple[int, int]:
    return int(moved.operation_id), moved.index

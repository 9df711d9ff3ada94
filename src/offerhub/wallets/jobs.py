"""Background work on wallets: the search for deposits that the watcher missed (contract 8, `check-missed-deposits`).

The watcher reads one stream and cannot miss anything while its cursor is right. This asks the other way round, wallet
by wallet: is everything that the chain says has arrived booked, or put aside? It books through the watcher's own
function, so the two may race.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from offerhub.errors import StellarNetworkError
from offerhub.kernel.clock import Clock
from offerhub.providers.stellar.horizon import Horizon
from offerhub.providers.stellar.records import Transfer
from offerhub.runtime.database import Database, Row
from offerhub.wallets import deposit_store as store
from offerhub.wallets.histories import book_history

OVERLAP_SECONDS: Final = 3600
"""How much of what the last check has seen is looked at again."""

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
            booked, complete = await book_history(
                database, horizon, clock, wallet["public_key"], partial(_since, wallet["since"]), pause_seconds
            )
        except StellarNetworkError as error:
            log.warning("missed_deposits_delayed", wallet_id=wallet["id"], error=str(error))
            failed += 1
            break
        checked += 1
        if not complete:
            log.error("missed_deposits_history_too_long", wallet_id=wallet["id"], since=str(wallet["since"]))
        credited += booked.credited
        failed += booked.quarantined + (not complete)
        await _note(database, wallet)
    return Report(checked, credited, failed)


async def _note(database: Database, wallet: Row) -> None:
    await database.run(lambda tx: store.checked(tx, wallet["id"], wallet["now"]))


def _since(moment: datetime, moved: Transfer) -> bool:
    return moved.created_at >= moment

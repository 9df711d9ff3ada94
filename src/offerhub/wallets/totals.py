"""What the books say to be in users' wallets, beside what the chain holds there.

The two agree to the unit whenever nothing is under way. So a wallet is judged only if no saga was at work on its
user's money and nothing was booked meanwhile, and if every deposit that the chain showed then has been booked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from offerhub.errors import StellarNetworkError
from offerhub.findings.looks import EXACT, Compared, look
from offerhub.kernel.clock import Clock
from offerhub.kernel.money import format_chain_amount
from offerhub.providers.stellar.horizon import Horizon
from offerhub.runtime.database import Database, Row
from offerhub.wallets import total_store as store
from offerhub.wallets.deposits import DepositWatcher, Lag

WALLET: Final = "WALLET_DIFFERS"
CATCH_UP_SECONDS: Final = 20.0
"""How long the watcher may take to book what the chain shows; an idle one notes how far it is every two seconds."""
CATCH_UP_POLL_SECONDS: Final = 0.25

log = structlog.get_logger("offerhub.deposits")


@dataclass(frozen=True, slots=True)
class Totals:
    """What was looked at, how many differences were confirmed now, and how often nothing could be read."""

    checked: int = 0
    differences: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Holdings:
    """Reads what addresses hold, at a moment up to which every deposit is booked."""

    horizon: Horizon
    deposits: DepositWatcher
    clock: Clock
    pause_seconds: float

    async def held(self, addresses: Sequence[str]) -> int:
        """Units of USDC at these addresses together. Raises StellarNetworkError."""
        units = 0
        for address in addresses:
            account = await self.horizon.account(address)
            units += 0 if account is None or account.usdc is None else int(account.usdc)
            await self.clock.sleep(self.pause_seconds)
        return units

    async def caught_up(self) -> Lag | None:
        """How far deposits are booked, once that is as far as the chain is now; None when they do not get there.

        Raises StellarNetworkError.
        """
        latest = (await self.horizon.span()).latest
        ends_at = self.clock.monotonic() + CATCH_UP_SECONDS
        while True:
            lag = await self.deposits.lag()
            if lag.ledger is not None and lag.ledger >= latest:
                return lag
            if self.clock.monotonic() >= ends_at:
                log.warning("totals_not_judged", booked_up_to=lag.ledger, chain_is_at=latest)
                return None
            await self.clock.sleep(CATCH_UP_POLL_SECONDS)


async def compare_wallets(database: Database, holdings: Holdings, *, limit: int) -> Totals:
    """Look at the wallets of `limit` users. When Horizon cannot be asked the rest waits for the next run."""
    users = await database.run(lambda tx: store.least_lately_looked_at(tx, WALLET, limit), read_only=True)
    ids = [user["id"] for user in users]
    before = await database.run(lambda tx: store.backed(tx, ids), read_only=True)
    held: dict[str, int] = {}
    failed = 0
    lag: Lag | None = None
    try:
        for user in users:
            held[user["id"]] = await holdings.held(user["addresses"])
    except StellarNetworkError as error:
        failed = 1
        log.warning("totals_delayed", error=str(error))
    if held:
        try:
            lag = await holdings.caught_up()
        except StellarNetworkError as error:
            log.warning("totals_delayed", error=str(error))
        if lag is None:
            return Totals(failed=1)
    after = await database.run(lambda tx: store.backed(tx, ids), read_only=True)
    differences = 0
    for user in users:
        if user["id"] in held and lag is not None:
            one = user["id"]
            compared = _compared(user, before[one], after[one], held[one], lag)
            differences += await database.run(partial(look, compared=compared))
    return Totals(len(held), differences, failed)


def _compared(user: Row, before: Row, after: Row, held: int, lag: Lag) -> Compared:
    is_quiet = (
        not before["is_moving"]
        and not after["is_moving"]
        and before["postings"] == after["postings"]
        and before["aside"] == after["aside"]
    )
    return Compared(
        user["marketplace_id"],
        WALLET,
        "User",
        user["id"],
        books=after["units"] + after["aside"],
        outside=held,
        explained=EXACT if is_quiet else None,
        evidence={
            "addresses": list(user["addresses"]),
            "putAside": format_chain_amount(after["aside"]),
            "bookedUpToLedger": lag.ledger,
            "openGaps": lag.gaps,
        },
    )

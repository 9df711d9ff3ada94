"""What inclusion costs at the moment, and what may be bid for it (providers.md 6.2). Light.

The network charges a ledger's clearing price, not the bid: a bid above the price costs nothing but the risk of a
surge, and that is what the cap bounds. All bids are stroops per operation.
"""

from typing import Final

import structlog

from offerhub.errors import StellarNetworkError
from offerhub.kernel.clock import Clock
from offerhub.providers.stellar.horizon import Horizon

BID_MIN: Final = 100
"""The network's minimum for one operation."""
REPLACEMENT_FACTOR: Final = 10
"""A queued transaction gives way only to one that bids ten times as much."""
PRICE_SECONDS: Final = 1.0
"""How long a price is good for: ledgers close every five seconds."""

log = structlog.get_logger("offerhub.fees")


class Fees:
    """The price of inclusion, as Horizon tells it, and the cap for one envelope (stroops, everything included)."""

    def __init__(self, horizon: Horizon, clock: Clock, cap: int) -> None:
        self.cap = cap
        self._horizon = horizon
        self._clock = clock
        self._price = BID_MIN
        self._read_at: float | None = None

    async def price(self) -> int:
        """What 95 of 100 transactions of the last ledgers paid at most; the last price known while nobody can say."""
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at >= PRICE_SECONDS:
            try:
                stats = await self._horizon.fee_stats()
            except StellarNetworkError as error:
                log.warning("fee_price_unknown", bid=self._price, error=str(error))
                return self._price
            self._price = max(BID_MIN, stats.base_fee, stats.charged_p95)
            self._read_at = now
        return self._price

    async def bid(self, operations: int) -> int:
        """The bid for a new transaction of so many operations: the price, within the cap."""
        return max(BID_MIN, min(await self.price(), self.cap // operations))


def first_bid(price: int, floor: int, ceiling: int) -> int | None:
    """The first bid of a fee bump: the price within the ceiling; None when even the floor is above it."""
    return None if floor > ceiling else min(max(price, floor), ceiling)


def next_bid(last: int, price: int, ceiling: int, *, refused: bool) -> int | None:
    """The bid that takes the place of the last one, or None while that one stands.

    It stands while the price is not above it, unless the network has refused it. A replacement bids ten times as
    much; one that was refused is in no queue, so for its successor all that the ceiling leaves may do.
    """
    if not refused and price <= last:
        return None
    wanted = max(REPLACEMENT_FACTOR * last, price)
    if wanted <= ceiling:
        return wanted
    return ceiling if refused and ceiling > last else None

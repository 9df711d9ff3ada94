"""Is this still the network that we know? Test networks are reset: accounts are gone, and ledgers count anew.

The numbers of operations would then come again and mean others, and a balance in the books would be worth nothing. So
the hash of a ledger is kept and compared (providers.md 8.6, F23).
"""

from typing import Final

from offerhub.kernel.clock import Clock
from offerhub.providers.stellar.credits import CreditStream
from offerhub.runtime.database import Database
from offerhub.wallets import deposit_store as store

CHECK_SECONDS: Final = 10.0
BEHIND_LEDGERS_MAX: Final = 720
"""A node that is an hour behind what has been seen is as useless as another network."""
ANCHOR: Final = "network"
"""Where the last ledger that was seen is kept, among the cursors: `<number>:<hash>`."""


class NetworkReset(Exception):
    """The network has begun anew, or is another one: nothing in the books means anything on it."""


class SameNetwork:
    """Compares what a stream shows with what was seen before."""

    def __init__(self, database: Database, source: CreditStream, clock: Clock) -> None:
        self._database = database
        self._source = source
        self._clock = clock
        self._next = 0.0

    async def check(self) -> None:
        """Look now and then. Raises NetworkReset, again each time, and StellarNetworkError."""
        if self._clock.monotonic() < self._next:
            return
        anchor = await self._database.run(lambda tx: store.cursor(tx, ANCHOR), read_only=True)
        span = await self._source.span()
        if anchor is not None:
            number, _, known = anchor.partition(":")
            seen = int(number)
            if span.latest < seen - BEHIND_LEDGERS_MAX:
                raise NetworkReset(f"ledger {seen} was seen before, and now the latest is {span.latest}")
            if span.oldest <= seen <= span.latest:
                found = await self._source.ledger_hash(seen)
                if found is not None and found != known:
                    raise NetworkReset(f"ledger {seen} has another hash than before")
        latest = await self._source.ledger_hash(span.latest)
        if latest is not None and (anchor is None or span.latest > int(anchor.partition(":")[0])):
            await self._database.run(lambda tx: store.set_cursor(tx, ANCHOR, f"{span.latest}:{latest}"))
        self._next = self._clock.monotonic() + CHECK_SECONDS

"""The deposit watcher: one stream of the network's credits books what arrives at any wallet of ours.

It reads through one port, of which Horizon and RPC are adapters; a setting says which. The credits of a page and the
cursor behind it commit together, so a crash repeats the page and changes nothing twice (I11). A record that cannot be
booked is put aside with its reason and the cursor moves on.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from offerhub.errors import StellarNetworkError
from offerhub.kernel.clock import Clock
from offerhub.providers.stellar.credits import CreditStream
from offerhub.providers.stellar.horizon import CursorTooOld, Horizon
from offerhub.providers.stellar.records import TransferPage
from offerhub.providers.stellar.rpc import ledger_of
from offerhub.runtime.cancellation import heed_cancellation
from offerhub.runtime.database import UNREACHABLE, Database, Tx
from offerhub.wallets import deposit_store as store
from offerhub.wallets.booking import book_credits
from offerhub.wallets.gaps import Gaps
from offerhub.wallets.same_network import NetworkReset, SameNetwork

RETRY_SECONDS_MAX: Final = 15.0
NOTE_SECONDS: Final = 2.0
"""How often an idle stream notes that it has caught up."""
GAPS_SECONDS: Final = 5.0
"""How often gaps are looked for that somebody else has noted, or that have rested."""

log = structlog.get_logger("offerhub.deposits")


class CursorMoved(Exception):
    """Another watcher has booked this page; it is not booked again."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far behind the watcher is.

    `seconds` have passed since everything that the network showed was booked (None: that never was yet), up to
    `ledger`. `gaps` are spans of ledgers that were missed and could not be filled yet.
    """

    seconds: float | None
    ledger: int | None
    gaps: int


def cursor_name(source: str) -> str:
    """Where the cursor of a source is kept."""
    return f"deposits:{source}"


class DepositWatcher:
    """Books the network's credits to our wallets. Any number may run; the cursor lets only one book a page.

    `source` is what books. `other` is the second adapter, if there is one: what it had booked is not read again, and
    it fills gaps. `halt` is called when the network is another one than before.
    """

    def __init__(
        self,
        database: Database,
        source: CreditStream,
        other: CreditStream | None,
        horizon: Horizon,
        clock: Clock,
        poll_seconds: float,
        halt: Callable[[str], Awaitable[None]],
    ) -> None:
        self.source = source
        self._database = database
        self._other = other
        self._usdc = horizon.network.usdc
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._gaps = Gaps(database, source, other, horizon, clock)
        self._network = SameNetwork(database, source, clock)
        self._halt = halt
        self._noted = 0.0
        self._look_for_gaps_at = 0.0

    async def begin(self) -> None:
        """See to it that there is a cursor: where this source stopped, or the other one if that came further.

        A fresh installation begins at the present: it has no wallet to have missed.
        """
        name = cursor_name(self.source.name)
        others = [] if self._other is None else [cursor_name(self._other.name)]
        known = await self._database.run(lambda tx: store.cursors(tx, [name, *others]), read_only=True)
        own, theirs = known.get(name), max((ledger_of(known[one]) for one in others if one in known), default=None)
        if own is not None and (theirs is None or ledger_of(own) >= theirs):
            return
        # The ledger in which the other stopped is read again: its credits have the same names here.
        start = self.source.begin_at((await self.source.span()).latest if theirs is None else theirs)
        await self._database.run(lambda tx: store.move_cursor(tx, name, own, start))
        log.info("deposits_begin", source=self.source.name, cursor=start, instead_of=own)

    async def watch(self) -> None:
        """Book pages until cancelled; a provider that cannot be reached only delays."""
        failures, begun = 0, False
        while True:
            try:
                await self._network.check()
                if not begun:
                    await self.begin()
                    begun = True
                full = await self.book_page()
                if not full:
                    await self._fill_gaps()
                failures = 0
                delay = 0.0 if full else self._poll_seconds
            except CursorMoved:
                begun, delay = False, self._poll_seconds
            except CursorTooOld as error:
                delay = await self._skip(error)
            except NetworkReset as reset:
                delay = RETRY_SECONDS_MAX
                log.error("network_reset", reason=str(reset))  # noqa: TRY400 - the alarm, not its trace
                await self._stop_everything(str(reset))
            except (StellarNetworkError, *UNREACHABLE) as error:
                failures += 1
                delay = min(RETRY_SECONDS_MAX, self._poll_seconds * 2**failures)
                log.warning("deposits_delayed", error=str(error), failures=failures)
            heed_cancellation()
            await self._clock.sleep(delay)

    async def book_page(self) -> bool:
        """Book the next page; True when more is waiting. Raises StellarNetworkError, CursorMoved."""
        name = cursor_name(self.source.name)
        cursor = await self._database.run(lambda tx: store.cursor(tx, name), read_only=True)
        if cursor is None:
            raise CursorMoved(name)
        page = await self.source.after(cursor)
        moved = page.cursor is not None and page.cursor != cursor
        if moved or (page.ledger is not None and self._clock.monotonic() - self._noted >= NOTE_SECONDS):
            await self._database.run(lambda tx: self._book(tx, cursor, page))
            self._noted = self._clock.monotonic()
        return page.is_full

    async def lag(self) -> Lag:
        """How far behind the watcher is, in whichever process it runs."""

        async def read(tx: Tx) -> Lag:
            found, gaps = await store.progress(tx, cursor_name(self.source.name)), await store.open_gaps(tx)
            if found is None:
                return Lag(None, None, len(gaps))
            return Lag(found["seconds"], found["ledger"], len(gaps))

        return await self._database.run(read, read_only=True)

    async def _fill_gaps(self) -> None:
        if self._clock.monotonic() >= self._look_for_gaps_at and not await self._gaps.fill():
            self._look_for_gaps_at = self._clock.monotonic() + GAPS_SECONDS

    async def _book(self, tx: Tx, cursor: str, page: TransferPage) -> None:
        after = page.cursor or cursor
        # The cursor first: its row lock keeps a second watcher out until this page is committed.
        if not await store.move_cursor(tx, cursor_name(self.source.name), cursor, after, page.ledger):
            raise CursorMoved(after)
        await book_credits(tx, self._usdc, page.transfers, page.unreadable, "stellar_deposit")

    async def _skip(self, error: CursorTooOld) -> float:
        """Go on from where history is still there; what lies between is filled from elsewhere."""
        try:
            skipped = await self._gaps.skip(cursor_name(self.source.name), str(error))
        except (StellarNetworkError, *UNREACHABLE) as failure:
            log.warning("deposits_delayed", error=str(failure))
            return RETRY_SECONDS_MAX
        self._look_for_gaps_at = 0.0
        return 0.0 if skipped else RETRY_SECONDS_MAX

    async def _stop_everything(self, reason: str) -> None:
        try:
            await self._halt(reason)
        except UNREACHABLE as error:
            log.warning("halt_delayed", error=str(error))

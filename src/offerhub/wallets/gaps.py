"""Ledgers that a stream has missed, because its provider forgot them before they were read.

That takes an outage of a week with RPC's usual retention, and much longer with Horizon. The watcher says so loudly
and goes on from what is still there, so that new deposits do not wait. What lies between is filled from elsewhere: a
gap of RPC from the histories of our wallets at Horizon, a gap of Horizon from RPC's events. What nobody has any more
stays open, shows in health, and waits for a person.
"""

from typing import Final

import structlog

from offerhub.errors import StellarNetworkError
from offerhub.kernel.clock import Clock
from offerhub.providers.stellar.credits import HORIZON, CreditStream
from offerhub.providers.stellar.horizon import CursorTooOld, Horizon
from offerhub.providers.stellar.records import Transfer, TransferPage
from offerhub.providers.stellar.rpc import ledger_of
from offerhub.runtime.database import Database, Row, Tx
from offerhub.wallets import deposit_store as store
from offerhub.wallets.booking import book_credits
from offerhub.wallets.histories import book_history

MARGIN_LEDGERS: Final = 12
"""A provider forgets a ledger every five seconds: the stream goes on a minute above its oldest one."""
RETRY_SECONDS: Final = 600.0
WALLETS_AT_A_TIME: Final = 20
PAUSE_SECONDS: Final = 0.05

log = structlog.get_logger("offerhub.deposits")


class Gaps:
    """The gaps of one stream, and how they are filled."""

    def __init__(
        self, database: Database, source: CreditStream, other: CreditStream | None, horizon: Horizon, clock: Clock
    ) -> None:
        self._database = database
        self._source = source
        self._other = other
        self._horizon = horizon
        self._clock = clock

    async def skip(self, cursor_name: str, reason: str) -> bool:
        """Note what the source has forgotten, and put its cursor behind that. Raises StellarNetworkError.

        False when it says that it has forgotten nothing of what is wanted: then nothing is skipped.
        """
        span = await self._source.span()
        resume = min(span.oldest + MARGIN_LEDGERS, span.latest)

        async def note(tx: Tx) -> tuple[int, int] | None:
            cursor = await store.cursor(tx, cursor_name)
            # Somebody else may have skipped it, or the provider may have it after all.
            if cursor is None or ledger_of(cursor) >= span.oldest:
                return None
            if not await store.move_cursor(tx, cursor_name, cursor, self._source.begin_at(resume)):
                return None
            await store.insert_gap(tx, self._source.name, ledger_of(cursor), resume - 1)
            return ledger_of(cursor), resume - 1

        noted = await self._database.run(note)
        if noted is None:
            log.warning("deposits_delayed", error=reason)
            return False
        log.error("deposits_gap", source=self._source.name, first=noted[0], last=noted[1], error=reason)
        return True

    async def fill(self) -> bool:
        """Work on the oldest gap for a while; False when there is none. When that fails, the gap rests.

        Deposits go on in any case.
        """
        gap = await self._database.run(lambda tx: store.gap_to_try(tx, RETRY_SECONDS), read_only=True)
        if gap is None:
            return False
        try:
            await (self._from_stream(gap) if gap["source"] == HORIZON else self._from_histories(gap))
        except StellarNetworkError as error:
            log.warning("deposits_gap_delayed", error=str(error))
            await self._database.run(lambda tx: store.rest(tx, gap["id"]))
        return True

    async def _from_stream(self, gap: Row) -> None:
        """One page of RPC's events, until they are behind the gap."""
        stream = next((one for one in (self._source, self._other) if one and one.name != HORIZON), None)
        if stream is None:
            await self._give_up(gap, gap["last_ledger"], "no STELLAR_RPC_URL is set")
            return
        cursor = gap["position"] or stream.begin_at(gap["first_ledger"])
        try:
            page = await stream.after(cursor)
        except CursorTooOld:
            oldest = (await stream.span()).oldest
            # What it still has of the gap is booked all the same.
            if oldest <= gap["last_ledger"]:
                await self._database.run(lambda tx: self._split(tx, gap, oldest))
            else:
                await self._give_up(gap, gap["last_ledger"], f"{stream.name} has forgotten these ledgers, too")
            return
        await self._database.run(lambda tx: self._book(tx, gap, page))
        if page.cursor is not None and ledger_of(page.cursor) > gap["last_ledger"]:
            await self._filled(gap, stream.name)

    async def _book(self, tx: Tx, gap: Row, page: TransferPage) -> None:
        if page.cursor is not None and await store.move_in_gap(tx, gap["id"], gap["position"], page.cursor):
            usdc = self._horizon.network.usdc
            await book_credits(tx, usdc, page.transfers, page.unreadable, "stellar_deposit_reconciled")

    async def _split(self, tx: Tx, gap: Row, oldest: int) -> None:
        """Leave what is lost as a gap of its own."""
        await store.gap_not_filled(tx, gap["id"], oldest - 1)
        await store.insert_gap(tx, gap["source"], oldest, gap["last_ledger"])
        log.error("deposits_lost", first=gap["first_ledger"], last=oldest - 1, reason="RPC has forgotten them, too")

    async def _from_histories(self, gap: Row) -> None:
        """The histories of the next wallets, back to the beginning of the gap."""

        def is_wanted(moved: Transfer) -> bool:
            return bool(moved.ledger >= gap["first_ledger"])

        position: str = gap["position"] or ""
        wallets = await self._database.run(
            lambda tx: store.wallets_after(tx, position, WALLETS_AT_A_TIME), read_only=True
        )
        for wallet in wallets:
            address = wallet["public_key"]
            _, complete = await book_history(
                self._database, self._horizon, self._clock, address, is_wanted, PAUSE_SECONDS
            )
            if not complete:
                log.error("missed_deposits_history_too_long", wallet_id=wallet["id"], since=gap["first_ledger"])
        if len(wallets) == WALLETS_AT_A_TIME:
            reached = wallets[-1]["public_key"]
            await self._database.run(lambda tx: store.move_in_gap(tx, gap["id"], gap["position"], reached))
            return
        oldest = (await self._horizon.span()).oldest
        if oldest <= gap["first_ledger"]:
            await self._filled(gap, HORIZON)
        else:
            await self._give_up(gap, oldest - 1, "Horizon has forgotten these ledgers, too")

    async def _filled(self, gap: Row, by: str) -> None:
        await self._database.run(lambda tx: store.gap_filled(tx, gap["id"], by))
        log.warning("deposits_gap_filled", first=gap["first_ledger"], last=gap["last_ledger"], by=by)

    async def _give_up(self, gap: Row, still_missing: int, reason: str) -> None:
        await self._database.run(lambda tx: store.gap_not_filled(tx, gap["id"], still_missing))
        log.error("deposits_lost", first=gap["first_ledger"], last=still_missing, reason=reason)

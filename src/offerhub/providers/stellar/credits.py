"""The port through which credits of the network are read, and its two adapters: Horizon and RPC.

Both show the same credits under the same keys, and cursors of both begin with the number of a ledger, so that one can
go on where the other stopped (decision 0045).
"""

from dataclasses import dataclass
from typing import Final, Protocol

from offerhub.providers.stellar.horizon import Horizon
from offerhub.providers.stellar.records import LedgerSpan, TransferPage
from offerhub.providers.stellar.rpc import Rpc

HORIZON: Final = "horizon"
RPC: Final = "rpc"


class CreditStream(Protocol):
    """Every credit of the network, page by page. Every method raises StellarNetworkError."""

    @property
    def name(self) -> str:
        """Such as `horizon`; the cursor is kept under it."""
        ...

    def begin_at(self, ledger: int) -> str:
        """The cursor from which everything in this ledger and later ones is shown."""
        ...

    async def after(self, cursor: str) -> TransferPage:
        """The next page. Raises CursorTooOld when the provider has forgotten what comes after the cursor."""
        ...

    async def span(self) -> LedgerSpan:
        """The ledgers that the provider has."""
        ...

    async def ledger_hash(self, sequence: int) -> str | None:
        """The hash of a ledger, None when the provider does not have it."""
        ...


@dataclass(frozen=True, slots=True)
class HorizonCredits:
    """`GET /payments`. Claims of claimable balances are not in there."""

    horizon: Horizon
    name: str = HORIZON

    def begin_at(self, ledger: int) -> str:
        """An operation's number is above that of its ledger."""
        return str(ledger << 32)

    async def after(self, cursor: str) -> TransferPage:
        """The credits of the next 200 operations that moved money."""
        return await self.horizon.payments_after(cursor)

    async def span(self) -> LedgerSpan:
        """What Horizon says of itself."""
        return await self.horizon.span()

    async def ledger_hash(self, sequence: int) -> str | None:
        """From `/ledgers`."""
        return await self.horizon.ledger_hash(sequence)


@dataclass(frozen=True, slots=True)
class RpcCredits:
    """`getEvents` of the USDC contract, one filter for all wallets."""

    rpc: Rpc
    name: str = RPC

    def begin_at(self, ledger: int) -> str:
        """Before the first operation of the ledger; the node takes no ledger that is yet to come."""
        return f"{ledger << 32:019d}-{0:010d}"

    async def after(self, cursor: str) -> TransferPage:
        """The credits of the next 200 events."""
        return await self.rpc.credits_after(cursor)

    async def span(self) -> LedgerSpan:
        """From `getHealth`, which fails when the node is behind."""
        return await self.rpc.span()

    async def ledger_hash(self, sequence: int) -> str | None:
        """From `getLedgers`."""
        return await self.rpc.ledger_hash(sequence)

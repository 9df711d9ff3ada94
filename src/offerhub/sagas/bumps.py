"""Fee bumps: the platform pays for what other accounts of ours sign, and bids again when the price has risen.

The envelope inside stays as it was signed, with its hash and sequence number; a ledger takes it once at most,
whichever wrapper it arrives in (providers.md 6.4, I18). Each wrapper is stored before it is sent.
"""

from typing import Protocol

import structlog

from offerhub.providers.stellar.fees import BID_MIN, Fees, first_bid, next_bid
from offerhub.runtime.database import Database
from offerhub.sagas import store
from offerhub.sagas.model import Envelope, FeeBump

log = structlog.get_logger("offerhub.chain")


class SignedEnvelope(Protocol):
    """What a signer returns: the bytes to be stored and sent (base64), and their hash (hex)."""

    @property
    def xdr(self) -> str:
        """The signed envelope."""
        ...

    @property
    def hash(self) -> str:
        """Its hash."""
        ...


class FeePayer(Protocol):
    """Whose account pays for the envelopes of others, and signs that it does."""

    async def fee_account(self) -> str | None:
        """The account that pays, or None while there is none: then each source pays for itself."""
        ...

    async def bump(self, fee_source: str, xdr: str, bid: int) -> SignedEnvelope:
        """Wrap a signed envelope with a bid in stroops per operation. Raises VaultError or InternalError."""
        ...


class Bumps:
    """Finds or makes the wrapper in which an envelope is sent."""

    def __init__(self, database: Database, fees: Fees, payer: FeePayer) -> None:
        self._database = database
        self._fees = fees
        self._payer = payer

    async def newest(self, envelope: Envelope) -> FeeBump | None:
        """The wrapper that was sent last, if any was."""
        return await self._database.run(lambda tx: store.newest_bump(tx, envelope.hash), read_only=True)

    async def wrapped(self, envelope: Envelope) -> FeeBump | None:
        """The wrapper to send now, stored; None when the envelope goes out as it is."""
        from offerhub.providers.stellar.transactions import fee_needs

        newest = await self.newest(envelope)
        payer = await self._payer.fee_account() if newest is None else newest.fee_source
        if payer is None:
            return None
        needs, price = fee_needs(envelope.xdr), await self._fees.price()
        ceiling = needs.ceiling(self._fees.cap)
        if newest is None:
            bid = first_bid(price, max(BID_MIN, needs.floor), ceiling)
        else:
            refused = envelope.last_code == "tx_insufficient_fee"
            bid = next_bid(newest.bid, price, ceiling, refused=refused)
        if bid is None:
            if newest is None or price > newest.bid:
                log.error("fee_cap_reached", hash=envelope.hash, price=price, cap_stroops=self._fees.cap)
            return newest
        signed = await self._payer.bump(payer, envelope.xdr, bid)
        bump = FeeBump(signed.hash, envelope.hash, payer, bid, signed.xdr)
        await self._database.run(lambda tx: store.insert_bump(tx, bump))
        if newest is not None:
            log.warning("fee_bid_raised", hash=envelope.hash, bid=bid, last_bid=newest.bid, price=price)
        return bump

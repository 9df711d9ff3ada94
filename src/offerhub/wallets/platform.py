"""The platform's account on the chain: it pays the fees of every envelope of ours, and keeps everybody's reserves."""

from typing import Final

import structlog

from offerhub.errors import StellarNetworkError
from offerhub.kernel.money import format_chain_amount
from offerhub.providers.stellar.horizon import Horizon
from offerhub.runtime.database import Database
from offerhub.sagas.bumps import SignedEnvelope
from offerhub.wallets import store
from offerhub.wallets.keyring import Keyring

XLM_MIN: Final = 100_000_000
"""10 XLM above its reserves: with less it is time to send more. A new wallet takes 1.5."""

log = structlog.get_logger("offerhub.wallets")


class PlatformAccount:
    """Who pays. Once it is set up it stays the same, so it is read from the database only until then."""

    def __init__(self, database: Database, horizon: Horizon, keyring: Keyring) -> None:
        self._database = database
        self._horizon = horizon
        self._keyring = keyring
        self._address: str | None = None

    async def fee_account(self) -> str | None:
        """Its address, or None while it is not set up: until then each source pays for itself."""
        if self._address is None:
            wallet = await self._database.run(lambda tx: store.of_system(tx, "platform"), read_only=True)
            if wallet is not None and wallet.status == "READY":
                self._address = wallet.public_key
        return self._address

    async def bump(self, fee_source: str, xdr: str, bid: int) -> SignedEnvelope:
        """Wrap a signed envelope, so that this account pays; `bid` is stroops per operation."""
        return await self._keyring.bump(fee_source, xdr, bid)

    async def channels(self) -> tuple[str, ...]:
        """The channel accounts that are set up."""
        found = await self._database.run(store.channels, read_only=True)
        return tuple(wallet.public_key for wallet in found if wallet.status == "READY")

    async def require_xlm(self, units: int) -> None:
        """See whether it can keep so much more in reserve. Raises StellarNetworkError, with an alarm if not."""
        spendable = await self.spendable()
        if spendable is not None and spendable >= units:
            return
        log.error("platform_xlm_low", account=self._address, spendable=spendable, needed=units)
        raise StellarNetworkError(
            "The platform's account has too little XLM: send it some.",
            account=self._address,
            needed=format_chain_amount(units),
            spendable=format_chain_amount(spendable or 0),
        )

    async def shortage(self) -> str | None:
        """What whoever runs this should know about its XLM; None when there is enough. Raises StellarNetworkError."""
        spendable = await self.spendable()
        if spendable is None:
            return "The platform's account is not set up yet"
        return (
            None if spendable >= XLM_MIN else f"The platform's account has {format_chain_amount(spendable)} XLM left"
        )

    async def spendable(self) -> int | None:
        """Its XLM above the reserves, in units; None while there is no account. Raises StellarNetworkError."""
        address = await self.fee_account()
        account = None if address is None else await self._horizon.account(address)
        return None if account is None else account.xlm_spendable

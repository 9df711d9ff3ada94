"""The platform's account on the chain: it pays the fees of every envelope of ours."""

from offerhub.runtime.database import Database
from offerhub.sagas.bumps import SignedEnvelope
from offerhub.wallets import store
from offerhub.wallets.keyring import Keyring


class PlatformAccount:
    """Who pays. Once it is set up it stays the same, so it is read from the database only until then."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
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

"""The keyring: the only place where a wallet's secret is in clear, for the moment of one signature (I17)."""

from collections.abc import Sequence

from offerhub.errors import InternalError
from offerhub.providers.stellar import keys
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Sealed, Vault, wipe
from offerhub.sagas.chain import SignedEnvelope
from offerhub.wallets import store


class Keyring:
    """Makes and uses keys of wallets. Secrets never leave it."""

    def __init__(self, database: Database, vault: Vault, passphrase: str) -> None:
        self._database = database
        self._vault = vault
        self._passphrase = passphrase

    def make(self) -> tuple[str, Sealed]:
        """A new key: its address, and its secret sealed to that address."""
        pair = keys.new_keypair()
        try:
            return pair.address, self._vault.seal(pair.secret, bound_to=pair.address)
        finally:
            wipe(pair.secret)

    async def sign(self, public_keys: Sequence[str], xdr: str) -> SignedEnvelope:
        """Sign an approved envelope with each key. Raises VaultError, or InternalError for an unknown key."""
        # stellar-sdk takes a second to import; only processes that sign pay for it.
        from offerhub.providers.stellar import transactions

        sealed = await self._database.run(lambda tx: store.sealed_secrets(tx, public_keys), read_only=True)
        missing = set(public_keys) - set(sealed)
        if missing:
            raise InternalError("there is no key for this account", accounts=sorted(missing))
        secrets = [self._vault.open(sealed[key], bound_to=key) for key in public_keys]
        try:
            return transactions.sign(xdr, self._passphrase, secrets)
        finally:
            for secret in secrets:
                wipe(secret)

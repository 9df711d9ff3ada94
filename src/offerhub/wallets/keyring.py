"""The keyring: the only place where a wallet's secret is in clear, for the moment of one signature (I17)."""

from collections.abc import Sequence

from offerhub.errors import InternalError
from offerhub.providers.stellar import keys
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Sealed, Vault, VaultError, wipe
from offerhub.sagas.chain import SignedEnvelope
from offerhub.wallets import store


class WrongWalletKey(Exception):
    """The wallets in this database are sealed with another key.

    Start with the WALLET_ENCRYPTION_KEY that sealed them, or, where none was set, with the OFFERHUB_MASTER_KEY of
    that time, from which it is derived.
    """

    def __init__(self) -> None:
        super().__init__(" ".join((type(self).__doc__ or "").split()))


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

    async def require_opens(self, public_key: str) -> None:
        """See whether a wallet's secret can be opened, before anything depends on it. Raises WrongWalletKey."""
        sealed = await self._database.run(lambda tx: store.sealed_secrets(tx, [public_key]), read_only=True)
        try:
            wipe(self._vault.open(sealed[public_key], bound_to=public_key))
        except VaultError as error:
            raise WrongWalletKey from error

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

"""The keyring: the only place where a wallet's secret is in clear, for the moment of one signature (I17)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from offerhub.errors import InternalError
from offerhub.kernel.failures import OperatorError
from offerhub.providers.stellar import keys
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Sealed, Vault, VaultError, wipe
from offerhub.sagas.bumps import SignedEnvelope
from offerhub.wallets import store


class WrongWalletKey(OperatorError):
    """The wallets in this database are sealed with another key.

    Start with the WALLET_ENCRYPTION_KEY that sealed them, or, where none was set, with the OFFERHUB_MASTER_KEY of
    that time, from which it is derived.
    """

    def __init__(self) -> None:
        super().__init__(" ".join((type(self).__doc__ or "").split()))


class MissingWalletKeys(WrongWalletKey):
    """There are wallets under key versions that this process has no key for."""

    def __init__(self, versions: Sequence[int]) -> None:
        shown = ", ".join(map(str, versions))
        Exception.__init__(
            self,
            f"There are wallets in this database under key version {shown}, for which there is no key. Add it to "
            f"WALLET_ENCRYPTION_KEYS_PREVIOUS (as {versions[0]}:<64 hexadecimal characters>), or run "
            "`offerhub wallets rotate` where that key is known. `offerhub wallets status` counts them; "
            "docs/operating/secrets.md has the whole procedure.",
        )


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
        if not self._opens(sealed[public_key], public_key):
            raise WrongWalletKey

    async def require_keys(self) -> None:
        """See whether there is a key for every version in use. Raises MissingWalletKeys."""
        used = await self._database.run(store.key_versions, read_only=True)
        missing = [version for version in used if version not in self._vault.keys]
        if missing:
            raise MissingWalletKeys(missing)

    async def opens_by_version(self) -> dict[int, bool]:
        """Whether a wallet opens here, of each version of the key in use; one of each is tried."""
        sample = await self._database.run(store.one_of_each_key_version, read_only=True)
        return {sealed.version: self._opens(sealed, address) for address, sealed in sample.items()}

    def _opens(self, sealed: Sealed, public_key: str) -> bool:
        try:
            wipe(self._vault.open(sealed, bound_to=public_key))
        except VaultError:
            return False
        return True

    def reseal(self, public_key: str, sealed: Sealed) -> Sealed:
        """The same secret under the current key. Raises VaultError when it does not open."""
        secret = self._vault.open(sealed, bound_to=public_key)
        try:
            again = self._vault.seal(secret, bound_to=public_key)
            check = self._vault.open(again, bound_to=public_key)
            same = secret == check
            wipe(check)
            assert same, "a secret that does not come back must not replace one that does"
            return again
        finally:
            wipe(secret)

    async def sign(self, public_keys: Sequence[str], xdr: str) -> SignedEnvelope:
        """Sign an approved envelope with each key. Raises VaultError, or InternalError for an unknown key."""
        # stellar-sdk takes a second to import; only processes that sign pay for it.
        from offerhub.providers.stellar import transactions

        async with self._opened(public_keys) as secrets:
            return transactions.sign(xdr, self._passphrase, secrets)

    async def bump(self, fee_source: str, xdr: str, bid: int) -> SignedEnvelope:
        """Wrap a signed envelope so that an account of ours pays its fee; `bid` is stroops per operation.

        Raises like `sign`.
        """
        from offerhub.providers.stellar import transactions

        async with self._opened([fee_source]) as secrets:
            return transactions.fee_bump(xdr, self._passphrase, fee_source=fee_source, fee=bid, secrets=secrets)

    @asynccontextmanager
    async def _opened(self, public_keys: Sequence[str]) -> AsyncIterator[list[bytearray]]:
        """The secrets of these accounts, wiped in the end."""
        sealed = await self._database.run(lambda tx: store.sealed_secrets(tx, public_keys), read_only=True)
        missing = set(public_keys) - set(sealed)
        if missing:
            raise InternalError("there is no key for this account", accounts=sorted(missing))
        secrets: list[bytearray] = []
        try:
            secrets.extend(self._vault.open(sealed[key], bound_to=key) for key in public_keys)
            yield secrets
        finally:
            for secret in secrets:
                wipe(secret)

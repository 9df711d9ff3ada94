"""Use cases of wallets."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from msgspec import UNSET, UnsetType

from offerhub.errors import InternalError, StellarNetworkError, WalletNotFound, WalletNotReady
from offerhub.events.journal import Event
from offerhub.kernel.clock import to_wire
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import format_chain_amount
from offerhub.providers.stellar.horizon import Horizon
from offerhub.providers.stellar.network import PUBLIC_PASSPHRASE, Network
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Tx
from offerhub.sagas.engine import Beginning, Engine
from offerhub.wallets import store
from offerhub.wallets.keyring import Keyring
from offerhub.wallets.model import (
    DepositAddressAnswer,
    DepositAssetAnswer,
    Purpose,
    Wallet,
    WalletAnswer,
    WalletBalanceAnswer,
)

PROVISION: Final = "wallet.provision"
STRANDED_BATCH: Final = 20
SYSTEM_PURPOSES: Final[tuple[Purpose, ...]] = ("platform", "resolver")


async def require(tx: Tx, marketplace_id: str, user_id: str) -> Wallet:
    """The user's wallet. Raises WalletNotFound."""
    wallet = await store.of_user(tx, marketplace_id, user_id)
    if wallet is None:
        raise WalletNotFound(userId=user_id[:64])
    return wallet


async def require_ready(tx: Tx, marketplace_id: str, user_id: str) -> Wallet:
    """The user's wallet, set up on the chain. Raises WalletNotFound or WalletNotReady."""
    wallet = await require(tx, marketplace_id, user_id)
    if wallet.status != "READY":
        raise WalletNotReady(userId=user_id, publicKey=wallet.public_key)
    return wallet


async def of_system(tx: Tx, purpose: Purpose) -> Wallet:
    """The system's wallet for a purpose, set up or not. Raises InternalError without one."""
    wallet = await store.of_system(tx, purpose)
    if wallet is None:
        raise InternalError(f"there is no {purpose} wallet: run `offerhub bootstrap`")
    return wallet


async def require_system(tx: Tx, purpose: Purpose) -> Wallet:
    """The system's wallet for a purpose, set up on the chain. Raises WalletNotReady, or InternalError without one."""
    wallet = await of_system(tx, purpose)
    if wallet.status != "READY":
        raise WalletNotReady(f"The {purpose} wallet is still being set up on the chain.", publicKey=wallet.public_key)
    return wallet


@dataclass(frozen=True, slots=True)
class NewWallet:
    """A wallet that is not stored yet: `request` is what `create_user` takes of it."""

    address: str
    request: dict[str, Any]
    event: Event
    saga: Beginning


class Wallets:
    """Creating and reading wallets.

    `channels` is how many channel accounts the system should have. With `treasury` its own wallets include one that
    pays for escrows.
    """

    def __init__(
        self, engine: Engine, keyring: Keyring, network: Network, *, channels: int, treasury: bool = False
    ) -> None:
        self._channels = channels
        self._engine = engine
        self._keyring = keyring
        self._network = network
        self._system_purposes: tuple[Purpose, ...] = (*SYSTEM_PURPOSES, "treasury") if treasury else SYSTEM_PURPOSES

    def new_for_user(self, actor: Actor, user_id: str) -> NewWallet:
        """The wallet of a new user, to be stored with it, and the saga that sets it up on the chain."""
        address, sealed = self._keyring.make()
        wallet_id = new_id("wal")
        payload = {
            "userId": user_id,
            "publicKey": address,
            "provider": "STELLAR",
            "funded": False,
            "trustlineReady": False,
        }
        event = Event("wallet.created", "Wallet", wallet_id, payload, user_id)
        request = {"id": wallet_id, "address": address, "sealed": sealed.blob.hex(), "key_version": sealed.version}
        values = {"address": address, "userId": user_id, "funding": "platform"}
        return NewWallet(address, request, event, self._engine.beginning(actor, PROVISION, wallet_id, values))

    async def create_system_wallets(self, tx: Tx, marketplace_id: str) -> list[Wallet]:
        """Make the wallets that the system itself needs, where they are missing; returns all of them."""
        actor = system(marketplace_id, "bootstrap")
        found = []
        for purpose in self._system_purposes:
            existing = await store.of_system(tx, purpose)
            if existing is None:
                address, sealed = self._keyring.make()
                existing = await store.insert(tx, marketplace_id, None, purpose, address, sealed)
                if existing is None:  # another process was quicker
                    existing = await store.of_system(tx, purpose)
                    assert existing is not None
                else:
                    await self._begin_provision(tx, actor, existing)
            found.append(existing)
        return [*found, *await self._create_channels(tx, actor)]

    async def _create_channels(self, tx: Tx, actor: Actor) -> list[Wallet]:
        """Make the channel accounts that are missing. Fewer than before are none too many: they stay in use."""
        await store.lock_system(tx)
        found = await store.channels(tx)
        for _ in range(len(found), self._channels):
            address, sealed = self._keyring.make()
            made = await store.insert(tx, actor.marketplace_id, None, "channel", address, sealed)
            assert made is not None, "any number of channels may exist"
            await self._begin_provision(tx, actor, made)
            found.append(made)
        return found

    async def begin_again(self, tx: Tx) -> int:
        """Try again to set up wallets whose set-up was refused, such as for want of XLM; returns how many."""
        found = await store.stranded(tx, STRANDED_BATCH)
        for wallet in found:
            await self._begin_provision(tx, system(wallet.marketplace_id, "wallets"), wallet)
        return len(found)

    async def _begin_provision(self, tx: Tx, actor: Actor, wallet: Wallet) -> None:
        """Begin to set a wallet up on the chain.

        The platform's account sponsors every other one; its own XLM is from a friendbot, or from whoever runs this.
        """
        values: dict[str, Any] = {"address": wallet.public_key, "userId": wallet.user_id, "funding": "platform"}
        if wallet.purpose == "platform":
            values["funding"] = "operator" if self._network.friendbot_url is None else "friendbot"
        if wallet.purpose == "channel":
            values["trustline"] = False
        await self._engine.start(tx, actor, PROVISION, wallet.id, values)

    def deposit_view(self, wallet: Wallet) -> DepositAddressAnswer:
        """Where to send a deposit (contract 2.5)."""
        network = self._network
        return DepositAddressAnswer(
            provider="crypto",
            method="stellar_address",
            address=wallet.public_key,
            asset=DepositAssetAnswer(code=network.usdc_code, issuer=network.usdc_issuer),
            network="mainnet" if network.passphrase == PUBLIC_PASSPHRASE else "testnet",
            status=wallet.status,
            instructions=(
                f"Send {network.usdc_code} (issuer {network.usdc_issuer}) on Stellar to this address. "
                "It is credited once the network has confirmed it; other assets are not credited."
            ),
        )


async def wallet_view(wallet: Wallet, horizon: Horizon) -> WalletAnswer:
    """A wallet and what the chain says it holds (contract 2.5).

    While the chain cannot be read the balances are zero and `stale` is true: a client that only wants the address
    must not fail because of it.
    """
    usdc = xlm = 0
    stale: Literal[True] | UnsetType = UNSET
    try:
        account = await horizon.account(wallet.public_key)
    except StellarNetworkError:
        stale = True
    else:
        if account is not None:
            usdc, xlm = account.usdc or 0, account.xlm
    return WalletAnswer(
        publicKey=wallet.public_key,
        type=wallet.type,
        provider="STELLAR",
        status=wallet.status,
        isActive=True,
        isPrimary=True,
        balance=WalletBalanceAnswer(usdc=format_chain_amount(usdc), xlm=format_chain_amount(xlm)),
        createdAt=to_wire(wallet.created_at),
        stale=stale,
    )

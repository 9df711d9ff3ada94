"""What a wallet is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from msgspec import UNSET, UnsetType, field

from offerhub.runtime.routes import Shape
from offerhub.runtime.vocabulary import ChainAmount, StellarAddress, Timestamp, TransactionHash

Purpose = Literal["user", "platform", "resolver", "channel", "treasury"]
WalletStatus = Literal["PENDING", "READY"]
WalletType = Literal["INVISIBLE", "EXTERNAL"]


@dataclass(frozen=True, slots=True)
class Wallet:
    """A Stellar account whose key we hold; `user_id` is None for the system's own."""

    id: str
    marketplace_id: str
    user_id: str | None
    purpose: Purpose
    public_key: str
    status: WalletStatus
    type: WalletType
    created_at: datetime


class WalletBalanceAnswer(Shape):
    """What an account holds on the chain."""

    usdc: ChainAmount
    xlm: ChainAmount


class WalletAnswer(Shape):
    """A user's account on Stellar. `stale` is there while the chain cannot be read: the balance then says nothing."""

    publicKey: StellarAddress
    type: WalletType
    provider: Literal["STELLAR"]
    status: WalletStatus
    isActive: bool
    isPrimary: bool
    balance: WalletBalanceAnswer
    createdAt: Timestamp
    stale: Literal[True] | UnsetType = UNSET


class DepositAssetAnswer(Shape):
    """The asset that is credited."""

    code: str
    issuer: StellarAddress


class DepositAddressAnswer(Shape):
    """Where to send a deposit, and what may be sent."""

    provider: Literal["crypto"]
    method: Literal["stellar_address"]
    address: StellarAddress
    asset: DepositAssetAnswer
    network: Literal["testnet", "mainnet"]
    status: WalletStatus
    instructions: str


class WalletTransactionAnswer(Shape):
    """A payment to or from a wallet."""

    id: str
    type: str
    sender: str = field(name="from")
    to: str
    amount: ChainAmount
    asset: str
    createdAt: str
    hash: TransactionHash
    successful: bool

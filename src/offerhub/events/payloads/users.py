"""What the events of users and their wallets tell (contract 6.2)."""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from offerhub.events.payloads.base import Kind, Payload
from offerhub.runtime.vocabulary import StellarAddress, Timestamp, UserId


class UserCreated(Payload):
    """A new user."""

    userId: UserId
    externalUserId: Annotated[str, Meta(description="Your own id of the user.", examples=["ann-1"])]
    type: Annotated[Literal["BUYER", "SELLER", "BOTH"], Meta(description="What the user may be.", examples=["BOTH"])]
    status: Annotated[
        Literal["PENDING_VERIFICATION", "ACTIVE", "SUSPENDED"],
        Meta(description="The user's state; new ones are `ACTIVE`.", examples=["ACTIVE"]),
    ]
    email: Annotated[str, Meta(description="There when it was given.", examples=["ann@example.com"])] | UnsetType = (
        UNSET
    )


class UserAirtmLinked(Payload):
    """An account at Airtm."""

    userId: UserId
    airtmUserId: Annotated[str, Meta(description="Airtm's id of the account.", examples=["4f7ab1f0-3a0e-4b57"])]
    linkedAt: Timestamp


class UserStellarLinked(Payload):
    """A wallet that is ready."""

    userId: UserId
    stellarAddress: StellarAddress
    linkedAt: Timestamp


class WalletCreated(Payload):
    """A new wallet, which is not yet on the chain."""

    userId: UserId
    publicKey: StellarAddress
    provider: Annotated[Literal["STELLAR"], Meta(description="Where it is.", examples=["STELLAR"])]
    funded: Annotated[
        Literal[False], Meta(description="Whether the account is there; it is made next.", examples=[False])
    ]
    trustlineReady: Annotated[
        Literal[False], Meta(description="Whether it takes USDC; `user.stellar_linked` says so.", examples=[False])
    ]


KINDS: Final = (
    Kind("user.created", "User", UserCreated, "A user is made.", "the user"),
    Kind("user.airtm_linked", "User", UserAirtmLinked, "The user's account at Airtm is known.", "the user"),
    Kind(
        "user.stellar_linked",
        "User",
        UserStellarLinked,
        "The wallet is on the chain and takes USDC.",
        "the user",
    ),
    Kind("wallet.created", "Wallet", WalletCreated, "A user's wallet is made, right after the user.", "the user"),
)

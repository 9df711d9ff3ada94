"""What a user is, inside and on the wire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import Currency, StellarAddress, Sum, Timestamp, UserId
from offerhub.wallets.model import WalletStatus

UserType = Literal["BUYER", "SELLER", "BOTH"]
UserStatus = Literal["PENDING_VERIFICATION", "ACTIVE", "SUSPENDED"]


class UserBalanceAnswer(Shape):
    """What a user has."""

    available: Sum
    reserved: Sum
    currency: Currency


class UserWalletAnswer(Shape):
    """A user's account on Stellar. Show the address for deposits once it is READY."""

    publicKey: StellarAddress
    status: WalletStatus
    provider: Literal["STELLAR"]


class UserAnswer(Shape):
    """A user, with what it has."""

    id: UserId
    externalUserId: Annotated[str, Meta(description="Your own id.", examples=["ana"])]
    email: str | None
    type: UserType
    status: UserStatus
    balance: UserBalanceAnswer
    airtmLinked: bool
    airtmUserId: str | None
    airtmEmail: str | None
    airtmLinkedAt: Timestamp | None
    wallet: UserWalletAnswer | None
    createdAt: Timestamp
    updatedAt: Timestamp


@dataclass(frozen=True, slots=True)
class User:
    """A user as stored."""

    id: str
    marketplace_id: str
    external_user_id: str
    email: str | None
    type: UserType
    status: UserStatus
    airtm_user_id: str | None
    airtm_email: str | None
    airtm_linked_at: datetime | None
    created_at: datetime
    updated_at: datetime


def shown_wallet(public_key: str, status: WalletStatus) -> UserWalletAnswer:
    """What a user's answer shows of its wallet."""
    return UserWalletAnswer(publicKey=public_key, status=status, provider="STELLAR")


@dataclass(frozen=True, slots=True)
class UserView:
    """A user with what its answer shows besides: balances in units, and the wallet's public key and status."""

    user: User
    available: int
    reserved: int
    wallet: UserWalletAnswer | None

    def wire(self) -> UserAnswer:
        """The user object of contract 2.3."""
        user = self.user
        linked_at = None if user.airtm_linked_at is None else to_wire(user.airtm_linked_at)
        return UserAnswer(
            id=user.id,
            externalUserId=user.external_user_id,
            email=user.email,
            type=user.type,
            status=user.status,
            balance=UserBalanceAnswer(
                available=format_amount(self.available),
                reserved=format_amount(self.reserved),
                currency="USD",
            ),
            airtmLinked=user.airtm_user_id is not None,
            airtmUserId=user.airtm_user_id,
            airtmEmail=user.airtm_email,
            airtmLinkedAt=linked_at,
            wallet=self.wallet,
            createdAt=to_wire(user.created_at),
            updatedAt=to_wire(user.updated_at),
        )


@dataclass(frozen=True, slots=True)
class Linked:
    """A user's Airtm account."""

    user_id: str
    airtm_user_id: str
    airtm_email: str
    linked_at: datetime

    def wire(self) -> "AirtmLinkAnswer":
        """The link of contract 2.3, in both spellings."""
        linked_at = to_wire(self.linked_at)
        return AirtmLinkAnswer(
            success=True,
            eligible=True,
            userId=self.user_id,
            airtmUserId=self.airtm_user_id,
            email=self.airtm_email,
            airtmEmail=self.airtm_email,
            airtmLinkedAt=linked_at,
            linkedAt=linked_at,
        )


class AirtmLinkAnswer(Shape):
    """The Airtm account that a user pays from and is paid to."""

    success: Literal[True]
    eligible: Literal[True]
    userId: UserId
    airtmUserId: Annotated[str, Meta(description="Airtm's id of the account.")]
    email: Annotated[
        str, Meta(description="The address that the account was found by.", examples=["ana@example.com"])
    ]
    airtmEmail: Annotated[str, Meta(description="The same as `email`.")]
    airtmLinkedAt: Timestamp
    linkedAt: Annotated[Timestamp, Meta(description="The same as `airtmLinkedAt`.")]


class LinkAirtmAccount(Body, kw_only=True):
    """The body of POST /users/{id}/airtm/link."""

    email: Annotated[
        str,
        Meta(
            description="The e-mail address of an account at Airtm that is active and verified.",
            examples=["ana@example.com"],
        ),
    ]


class CreateUser(Body, kw_only=True):
    """The body of POST /users. `externalUserId` has two aliases; one of the three must be there."""

    externalUserId: str | None = None
    external_user_id: str | None = None
    externalId: str | None = None
    email: str | None = None
    type: UserType = "BOTH"
    metadata: dict[str, Any] | None = None

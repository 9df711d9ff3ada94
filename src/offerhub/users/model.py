"""What a user is, inside and on the wire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from offerhub.kernel.clock import EPOCH, to_wire
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import format_amount
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import ALIAS, SHOWN, WHITE_SPACE, Currency, StellarAddress, Sum, Timestamp, UserId
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


def new_user(marketplace_id: str, external_user_id: str, email: str | None, user_type: UserType) -> User:
    """A user that is not stored yet; its times are the database's."""
    return User(
        new_id("usr"), marketplace_id, external_user_id, email, user_type, "ACTIVE", None, None, None, EPOCH, EPOCH
    )


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


EXTERNAL_ID_CHARACTERS_MAX: Final = 255
EMAIL_CHARACTERS_MAX: Final = 254
"""The longest address that mail can carry; it also bounds how long the pattern below can take."""
_IN_EMAIL: Final = rf"[^@{WHITE_SPACE}\x00-\x1f\x7f-\x9f]"
EMAIL_PATTERN: Final = rf"^{_IN_EMAIL}{{1,64}}@{_IN_EMAIL}+\.{_IN_EMAIL}{{2,}}$"

_ExternalId = Annotated[str, Meta(min_length=1, max_length=EXTERNAL_ID_CHARACTERS_MAX, pattern=SHOWN)]
_Email = Annotated[
    str,
    Meta(
        examples=["ana@example.com"],
        extra_json_schema={"maxLength": EMAIL_CHARACTERS_MAX, "pattern": EMAIL_PATTERN},
    ),
]


class LinkAirtmAccount(Body, kw_only=True):
    """Which account at Airtm."""

    email: Annotated[_Email, Meta(description="The e-mail address of an account at Airtm, active and verified.")]


class CreateUser(Body, kw_only=True):
    """A new user."""

    one_of = (("externalUserId", "external_user_id", "externalId"),)

    externalUserId: Annotated[
        _ExternalId | None,
        Meta(description="Your own id of the user. A repetition finds the user who has it.", examples=["ana"]),
    ] = None
    external_user_id: Annotated[
        _ExternalId | None, Meta(description="Another name of `externalUserId`.", extra_json_schema=ALIAS)
    ] = None
    externalId: Annotated[
        _ExternalId | None, Meta(description="Another name of `externalUserId`.", extra_json_schema=ALIAS)
    ] = None
    email: Annotated[_Email | None, Meta(description="Where to reach the user; nothing is sent there.")] = None
    type: Annotated[UserType, Meta(description="What the user does in the marketplace.", examples=["BUYER"])] = "BOTH"
    metadata: Annotated[
        dict[str, Any] | None, Meta(description="Anything of yours; it is kept.", examples=[{"plan": "pro"}])
    ] = None


class ListUsers(PageQuery, kw_only=True):
    """Filters of GET /users."""

    type: Annotated[UserType | None, Meta(description="Only users of this type.", examples=["BUYER"])] = None
    status: Annotated[UserStatus | None, Meta(description="Only users in this state.", examples=["ACTIVE"])] = None

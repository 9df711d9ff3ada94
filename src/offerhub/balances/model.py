"""Balances on the wire."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta, Struct

from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import (
    ALIAS,
    Amount,
    AuditId,
    Currency,
    PositiveAmount,
    SignedSum,
    Sum,
    Timestamp,
    UserId,
)

BalanceOperation = Literal[
    "CREDIT_AVAILABLE", "DEBIT_AVAILABLE", "RESERVE", "RELEASE", "CANCEL_RESERVATION", "DEDUCT_RESERVED"
]


class Balance(Struct, frozen=True):
    """A user's balance in units. `reserved` includes what is on its way out."""

    user_id: str
    available: int
    reserved: int
    updated_at: datetime

    def fields(self) -> dict[str, Any]:
        """The fields of the balance object."""
        total = format_amount(self.available + self.reserved)
        parts = format_amount(self.available), format_amount(self.reserved)
        return balance_fields(self.user_id, *parts, total, to_wire(self.updated_at))

    def wire(self) -> "BalanceAnswer":
        """The balance object."""
        return BalanceAnswer(**self.fields())


def balance_fields(user_id: str, available: str, reserved: str, total: str, updated: str) -> dict[str, Any]:
    """The fields of the balance object of contract 2.4, in both spellings."""
    return {
        "user_id": user_id,
        "userId": user_id,
        "available": available,
        "reserved": reserved,
        "total": total,
        "currency": "USD",
        "updated_at": updated,
        "updatedAt": updated,
    }


class BalancePartsAnswer(Shape):
    """The two parts of a balance."""

    available: Sum
    reserved: Sum


class BalanceAnswer(Shape):
    """What a user has: `available` may be spent, `reserved` is set aside or on its way out."""

    user_id: UserId
    userId: UserId
    available: Sum
    reserved: Sum
    total: Sum
    currency: Currency
    updated_at: Timestamp
    updatedAt: Timestamp


class BalanceOperationAnswer(BalanceAnswer):
    """A balance after an operation, and how it was before."""

    success: Literal[True]
    operation: BalanceOperation
    amount: Amount
    previousBalance: BalancePartsAnswer
    newBalance: BalancePartsAnswer
    auditLogId: AuditId
    balance: BalanceAnswer


class BalanceSyncAnswer(BalanceAnswer):
    """The books beside the chain. `unknown` means that the chain could not be asked."""

    synced: bool
    localBalance: Sum
    providerBalance: Sum | Literal["unknown"]
    discrepancy: SignedSum | Literal["unknown"]
    action: Literal["none", "adjusted", "flagged"]


class BalanceVerificationAnswer(BalanceAnswer):
    """A balance, and whether the chain agrees with it to the cent."""

    providerVerified: bool


REFERENCE_CHARACTERS_MAX: Final = 255

_Reference = Annotated[str, Meta(min_length=1, max_length=REFERENCE_CHARACTERS_MAX)]
_Description = Annotated[
    str | None, Meta(description="Why, for people; it is kept in the books.", examples=["Welcome bonus"])
]


class MoveBody(Body, kw_only=True):
    """How much to credit or debit, and why."""

    amount: PositiveAmount
    currency: Currency | None = None
    description: _Description = None
    reference: Annotated[str | None, Meta(description="Your own reference.", examples=["bonus-17"])] = None


class HoldBody(Body, kw_only=True):
    """How much, and of which reservation."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("orderId", "reference"),)

    amount: PositiveAmount
    orderId: Annotated[
        _Reference | None,
        Meta(description="What the money is set aside for: an order's id, or any text.", examples=["job-4711"]),
    ] = None
    reference: Annotated[
        _Reference | None, Meta(description="Another name of `orderId`.", extra_json_schema=ALIAS)
    ] = None
    currency: Currency | None = None
    description: _Description = None


class ReleaseBody(HoldBody, kw_only=True):
    """How much of which reservation is paid, and to whom."""

    one_of = (("sellerId", "recipientId"), *HoldBody.one_of)

    sellerId: Annotated[UserId | None, Meta(description="The user who receives the money.")] = None
    recipientId: Annotated[
        UserId | None, Meta(description="Another name of `sellerId`.", extra_json_schema=ALIAS)
    ] = None

"""What a withdrawal is, inside and on the wire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, cast, get_args

from msgspec import UNSET, Meta, UnsetType

from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import Units, format_amount
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import (
    ALIAS,
    Amount,
    Currency,
    PositiveAmount,
    Timestamp,
    TransactionHash,
    UserId,
    WithdrawalId,
)

DestinationType = Literal["crypto", "bank", "airtm_balance"]
WithdrawalStatus = Literal[
    "WITHDRAWAL_CREATED",
    "WITHDRAWAL_COMMITTED",
    "WITHDRAWAL_PENDING",
    "WITHDRAWAL_PENDING_USER_ACTION",
    "WITHDRAWAL_COMPLETED",
    "WITHDRAWAL_FAILED",
    "WITHDRAWAL_CANCELED",
]


@dataclass(frozen=True, slots=True)
class Reversal:
    """What came back of a payout after it was completed; `amount` is credited to the user."""

    amount: Units
    reason: str
    at: datetime

    def wire(self) -> "ReversalAnswer":
        """As it is shown with its withdrawal."""
        return ReversalAnswer(amount=format_amount(self.amount), reason=self.reason, at=to_wire(self.at))


@dataclass(frozen=True, slots=True)
class Refund:
    """A deposit at Airtm that gives a payout back, as stored; `withdrawal_id` is whose payout it was."""

    deposit_id: str
    payout_id: str | None
    amount: Units
    status: str
    withdrawal_id: str | None


class ReversalAnswer(Shape):
    """The payment came back after it was completed. The withdrawal stays completed; this much is credited again."""

    amount: Annotated[Amount, Meta(description="What came back and was credited.")]
    reason: Annotated[str, Meta(examples=["Airtm gave the payout back after it was completed."])]
    at: Timestamp


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A withdrawal as stored."""

    id: str
    marketplace_id: str
    user_id: str
    amount: Units
    fee: Units
    currency: str
    status: str
    destination_type: str
    destination_ref: str
    memo: str | None
    description: str | None
    committed: bool
    airtm_payout_id: str | None
    transaction_hash: str | None
    failure_reason: str | None
    reversal: Reversal | None
    created_at: datetime
    updated_at: datetime

    def wire(self) -> "WithdrawalAnswer":
        """The withdrawal object of contract 2.10; optional fields are left out when there is nothing to say."""
        return WithdrawalAnswer(
            id=self.id,
            userId=self.user_id,
            amount=format_amount(self.amount),
            fee=format_amount(self.fee),
            currency=self.currency,
            status=cast("WithdrawalStatus", self.status),
            destinationType=cast("DestinationType", self.destination_type),
            destinationRef=self.destination_ref,
            committed=self.committed,
            createdAt=to_wire(self.created_at),
            updatedAt=to_wire(self.updated_at),
            memo=UNSET if self.memo is None else self.memo,
            airtmPayoutId=UNSET if self.airtm_payout_id is None else self.airtm_payout_id,
            transactionHash=UNSET if self.transaction_hash is None else self.transaction_hash,
            failureReason=UNSET if self.failure_reason is None else self.failure_reason,
            description=UNSET if self.description is None else self.description,
            reversal=UNSET if self.reversal is None else self.reversal.wire(),
        )


class WithdrawalAnswer(Shape):
    """Money on its way out, or gone."""

    id: WithdrawalId
    userId: UserId
    amount: Amount
    fee: Amount
    currency: Currency
    status: WithdrawalStatus
    destinationType: DestinationType
    destinationRef: Annotated[str, Meta(description="Where it goes, such as a Stellar address.")]
    committed: bool
    createdAt: Timestamp
    updatedAt: Timestamp
    memo: str | UnsetType = UNSET
    airtmPayoutId: Annotated[str, Meta(description="Airtm's id of the payout.")] | UnsetType = UNSET
    transactionHash: TransactionHash | UnsetType = UNSET
    failureReason: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    reversal: ReversalAnswer | UnsetType = UNSET


DESTINATION_CHARACTERS_MAX: Final = 255

_Destination = Annotated[str, Meta(min_length=1, max_length=DESTINATION_CHARACTERS_MAX)]


class CreateWithdrawal(Body, kw_only=True):
    """What is paid out, and where it goes."""

    one_of = (("destinationRef", "destination"),)

    amount: PositiveAmount
    destinationType: Annotated[
        Literal["crypto", "bank", "airtm_balance", "stellar", "airtm"],
        Meta(
            description="`crypto` is a Stellar address, the others go through Airtm. `stellar` and `airtm` are older "
            "names of `crypto` and `airtm_balance`.",
            examples=["crypto"],
        ),
    ]
    userId: Annotated[UserId | None, Meta(description="Who withdraws; a key that is bound to a user knows it.")] = (
        None
    )
    user_id: Annotated[UserId | None, Meta(description="Another name of `userId`.", extra_json_schema=ALIAS)] = None
    destinationRef: Annotated[
        _Destination | None,
        Meta(
            description="Where it goes: for `crypto` a Stellar address (G… or M…) that trusts USDC.",
            examples=["GDIR3NAXT4GVWVMD4LNJ4XCZLAXHCYZGXRZJGBLT6NKQKEVKPLFPZZH5"],
        ),
    ] = None
    destination: Annotated[
        _Destination | None, Meta(description="Another name of `destinationRef`.", extra_json_schema=ALIAS)
    ] = None
    memo: Annotated[
        str | None,
        Meta(description="For a Stellar address that asks for one: text of 1 to 28 bytes.", examples=["account 42"]),
    ] = None
    currency: Currency | None = None
    commit: Annotated[
        bool,
        Meta(description="Let it go at once; otherwise what goes through Airtm waits for `commit`.", examples=[True]),
    ] = False
    description: Annotated[str | None, Meta(description="For people; it comes back.", examples=["June"])] = None


class UserQuery(Body, kw_only=True):
    """`userId` narrows a single withdrawal down to its owner."""

    userId: Annotated[UserId | None, Meta(description="Finds the withdrawal only if it is this user's.")] = None


class ListWithdrawals(PageQuery, kw_only=True):
    """Filters of GET /withdrawals."""

    userId: Annotated[UserId | None, Meta(description="Only those of this user.")] = None
    status: Annotated[
        str | None,
        Meta(
            description="Only those in this state.",
            examples=["WITHDRAWAL_COMPLETED"],
            extra_json_schema={"enum": list(get_args(WithdrawalStatus))},
        ),
    ] = None

"""What a withdrawal is, inside and on the wire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, cast

from msgspec import UNSET, Meta, UnsetType

from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import Units, format_amount
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import Amount, Currency, Timestamp, TransactionHash, UserId, WithdrawalId

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


class CreateWithdrawal(Body, kw_only=True):
    """The body of POST /withdrawals; `destination` is an alias of `destinationRef`."""

    amount: str
    destinationType: Literal["crypto", "bank", "airtm_balance", "stellar", "airtm"]
    userId: str | None = None
    user_id: str | None = None
    destinationRef: str | None = None
    destination: str | None = None
    memo: str | None = None
    currency: str | None = None
    commit: bool = False
    description: str | None = None


class UserQuery(Body, kw_only=True):
    """`userId` narrows a single withdrawal down to its owner."""

    userId: str | None = None


class ListWithdrawals(PageQuery, kw_only=True):
    """Filters of GET /withdrawals."""

    userId: str | None = None
    status: str | None = None

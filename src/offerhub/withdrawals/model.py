"""What a withdrawal is, inside and on the wire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import Units, format_amount
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Body


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
    transaction_hash: str | None
    failure_reason: str | None
    created_at: datetime
    updated_at: datetime

    def wire(self) -> dict[str, Any]:
        """The withdrawal object of contract 2.10; optional fields are left out when there is nothing to say."""
        optional = {
            "memo": self.memo,
            "transactionHash": self.transaction_hash,
            "failureReason": self.failure_reason,
            "description": self.description,
        }
        return {
            "id": self.id,
            "userId": self.user_id,
            "amount": format_amount(self.amount),
            "fee": format_amount(self.fee),
            "currency": self.currency,
            "status": self.status,
            "destinationType": self.destination_type,
            "destinationRef": self.destination_ref,
            "committed": self.committed,
            "createdAt": to_wire(self.created_at),
            "updatedAt": to_wire(self.updated_at),
        } | {name: value for name, value in optional.items() if value is not None}


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

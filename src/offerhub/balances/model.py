"""Balances on the wire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.runtime.routes import Body


@dataclass(frozen=True, slots=True)
class Balance:
    """A user's balance in units. `reserved` includes what is on its way out."""

    user_id: str
    available: int
    reserved: int
    updated_at: datetime

    def parts(self) -> dict[str, str]:
        """`{available, reserved}` as wire text."""
        return {"available": format_amount(self.available), "reserved": format_amount(self.reserved)}

    def wire(self) -> dict[str, Any]:
        """The balance object of contract 2.4, in both spellings."""
        updated = to_wire(self.updated_at)
        return {
            "user_id": self.user_id,
            "userId": self.user_id,
            **self.parts(),
            "total": format_amount(self.available + self.reserved),
            "currency": "USD",
            "updated_at": updated,
            "updatedAt": updated,
        }


def operation_wire(operation: str, amount: int, before: Balance, after: Balance, audit_log_id: str) -> dict[str, Any]:
    """The operation object of contract 2.4."""
    return after.wire() | {
        "success": True,
        "operation": operation,
        "amount": format_amount(amount),
        "previousBalance": before.parts(),
        "newBalance": after.parts(),
        "auditLogId": audit_log_id,
        "balance": after.wire(),
    }


class MoveBody(Body, kw_only=True):
    """The body of credit and debit."""

    amount: str
    currency: str | None = None
    description: str | None = None
    reference: str | None = None


class HoldBody(Body, kw_only=True):
    """The body of the operations on a reservation: `orderId`, or the SDK's `reference`, names it."""

    amount: str
    orderId: str | None = None
    reference: str | None = None
    currency: str | None = None
    description: str | None = None


class ReleaseBody(HoldBody, kw_only=True):
    """The body of release: `sellerId`, or the SDK's `recipientId`, receives the money."""

    sellerId: str | None = None
    recipientId: str | None = None

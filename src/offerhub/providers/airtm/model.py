"""What Airtm says, decoded: payers, payins and payouts (providers.md 2.3)."""

from dataclasses import dataclass
from typing import Literal

from offerhub.kernel.money import Units

PayinStatus = Literal["CREATED", "PROCESSING", "CONFIRMED", "CANCELED", "FAILED", "UNRECOGNISED"]
"""Airtm's statuses of a payin; the ends of a bridge are told as the end they mean. Unknown ones are kept apart."""

PayoutStatus = Literal["CREATED", "PROCESSING", "WAITING_FOR_USER", "IN_TROUBLE", "COMPLETED", "CANCELED", "FAILED",
                       "UNRECOGNISED"]  # fmt: skip
"""Airtm's eighteen statuses of a payout, by what they mean to us (providers.md 2.3, the table of payouts)."""


@dataclass(frozen=True, slots=True)
class AirtmUser:
    """A user of Airtm as `GET /users/{email}` tells; `country` is ISO 3166 alpha-3 where known."""

    id: str
    is_active: bool
    is_verified: bool
    country: str | None


@dataclass(frozen=True, slots=True)
class Payin:
    """Money that a user pays to us. `net_amount` is what arrives; `code` is our own reference, unique for ever."""

    id: str
    code: str
    status: PayinStatus
    raw_status: str
    amount: Units
    net_amount: Units
    fee: Units
    airtm_user_id: str | None
    failure_reason: str | None
    checkout_url: str
    """Where the user confirms the payment in a browser."""


@dataclass(frozen=True, slots=True)
class Payout:
    """Money that we pay to a user. `amount` leaves our balance, `net_amount` arrives, `fee` is Airtm's share."""

    id: str
    code: str | None
    status: PayoutStatus
    raw_status: str
    amount: Units
    net_amount: Units
    fee: Units
    airtm_user_id: str | None
    reason_code: str | None
    reason: str | None

"""What Airtm says, decoded: payers, payins and payouts, and what became of a call with effect (providers.md 2.3)."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from offerhub.errors import Refusal
from offerhub.kernel.money import Units

PayinStatus = Literal["CREATED", "PROCESSING", "CONFIRMED", "CANCELED", "FAILED", "UNRECOGNISED"]
"""Airtm's statuses of a payin; the ends of a bridge are told as the end they mean. Unknown ones are kept apart."""

PayoutStatus = Literal["CREATED", "PROCESSING", "WAITING_FOR_USER", "IN_TROUBLE", "COMPLETED", "CANCELED", "FAILED",
                       "UNRECOGNISED"]  # fmt: skip
"""Airtm's eighteen statuses of a payout, by what they mean to us (providers.md 2.3, the table of payouts)."""


@dataclass(frozen=True, slots=True)
class AirtmUser:
    """A user of Airtm as `GET /users/{email}` tells; `country` is ISO 3166 alpha-3 where known.

    Whoever has a status that Airtm does not document is not active.
    """

    id: str
    is_active: bool
    raw_status: str
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


@dataclass(frozen=True, slots=True)
class AirtmBalance:
    """What our own account at Airtm holds."""

    available: Units
    pending: Units


@dataclass(frozen=True, slots=True)
class Refund:
    """Money of a payout that came back to our account: a deposit of the type `refunded`. `id` is the deposit's."""

    id: str
    payout_id: str | None
    amount: Units


@dataclass(frozen=True, slots=True)
class Deposits:
    """One page of what came to our account by another way than a payin: the ids of all, and the refunds among them.

    Airtm does not say how the list is sorted. `end_cursor` is where the next page begins; None on an empty page.
    """

    ids: tuple[str, ...]
    refunds: tuple[Refund, ...]
    end_cursor: str | None


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """Airtm did it. Committing and cancelling bring no value: read the payin or payout to see it."""

    value: T


@dataclass(frozen=True, slots=True)
class Exists:
    """Airtm did it already, on an earlier call with this code. Read it back and go on with what is there."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """This call certainly had no effect and never will: `refusal` says why, in our catalogue's words.

    `reason_code` is Airtm's, where it gave one: "415030" (payin) and "415055" (payout) mean that the state no longer
    allows the call. An earlier call may be the reason, so read the state before drawing a conclusion.
    """

    refusal: Refusal
    reason_code: str | None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """This call certainly had no effect and may be made again later; an earlier one may have had."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Unknown:
    """This call may have had an effect. Read back by code before anything else; money stays held until then."""

    reason: str


Outcome: TypeAlias = Done[T] | Exists | Rejected | Unavailable | Unknown
"""What became of a call with effect."""

"""The exact shapes of Airtm's Enterprise API V2 on the wire (providers.md 2.3). Pure.

Amounts are JSON numbers of dollars. Readers raise KeyError, TypeError or ValueError for what they cannot be sure of:
an answer about money is understood in full or not at all.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

import msgspec

from offerhub.kernel.money import DECIMALS, Units
from offerhub.providers.airtm.model import (
    AirtmBalance,
    AirtmUser,
    Deposits,
    Payin,
    PayinStatus,
    Payout,
    PayoutStatus,
    Refund,
)
from offerhub.providers.numbers import DECIMAL_EXPONENT_MAX, number, units_of

DESCRIPTION_CHARACTERS_MAX: Final = 250

PAYIN_STATUSES: Final[Mapping[str, PayinStatus]] = {
    "CREATED": "CREATED",
    "PROCESSING": "PROCESSING",
    "CONFIRMED": "CONFIRMED",
    "CANCELED": "CANCELED",
    "BRIDGE_CANCELED": "CANCELED",
    "FAILED": "FAILED",
    "BRIDGE_FAILED": "FAILED",
}

PAYOUT_STATUSES: Final[Mapping[str, PayoutStatus]] = {
    "CREATED": "CREATED",
    "COMMITTED": "PROCESSING",
    "PROCESSING": "PROCESSING",
    "PENDING_SIGNATURE": "PROCESSING",
    "SIGNED": "PROCESSING",
    "BRIDGE_CREATED": "PROCESSING",
    # Airtm publishes no meaning for these two, so they are not taken for paid.
    "BRIDGE_COMPLETED": "PROCESSING",
    "COSMOEM_COMPLETED": "PROCESSING",
    "PENDING": "WAITING_FOR_USER",
    "PENDING_USER_ACTION": "WAITING_FOR_USER",
    "BRIDGE_USER_SIGNUP_PENDING": "WAITING_FOR_USER",
    "ERROR": "IN_TROUBLE",
    "BRIDGE_FAILED": "IN_TROUBLE",
    "BRIDGE_MAX_RETRIES_REACHED": "IN_TROUBLE",
    "CANCEL_REQUESTED": "IN_TROUBLE",
    "COMPLETED": "COMPLETED",
    "CANCELED": "CANCELED",
    "FAILED": "FAILED",
}

USER_STATUSES: Final = frozenset({"ACTIVE", "INACTIVE"})
DEPOSIT_TYPES: Final = frozenset({"FUNDING", "REFUNDED", "TRANSFER", "WITHDRAWAL"})

_DOLLARS: Final = ("USD", "USDC")
_TEXT_CHARACTERS_MAX: Final = 500
_ID = re.compile(r"[0-9A-Za-z_-]{1,100}", re.ASCII)
_UNIT: Final = Decimal(1).scaleb(-DECIMALS)
_NOISE_MAX: Final = Decimal("1E-9")


@dataclass(frozen=True, slots=True)
class Request:
    """One call: `path` is a template such as `/payouts/{id}`, which may be logged; what fills it may not."""

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    moves_money: bool = False

    @property
    def is_addressable(self) -> bool:
        """False when a name is empty or a step in a path, which would turn this into another call."""
        return not any(value in {"", ".", ".."} for value in self.names.values())

    @property
    def target(self) -> str:
        """The path and the query as they are sent."""
        assert self.is_addressable
        path = self.path.format_map({name: quote(value, safe="") for name, value in self.names.items()})
        return f"{path}?{urlencode(self.query)}" if self.query else path


def payin_body(*, code: str, amount: Units, description: str, confirmation_uri: str, cancel_uri: str) -> bytes:
    """The body of `POST /payins`: one item of the whole amount. The description is cut where Airtm's field ends."""
    shown = description[:DESCRIPTION_CHARACTERS_MAX]
    body = {
        "code": code,
        "amount": number(amount),
        "description": shown,
        "items": [{"description": shown, "amount": number(amount), "quantity": 1}],
        "confirmationUri": confirmation_uri,
        "cancelUri": cancel_uri,
    }
    return msgspec.json.encode(body)


def payout_body(*, code: str, email: str, amount: Units, notes: str, require_id_verified: bool = False) -> bytes:
    """The body of `POST /payouts`. It never commits: money moves by a second call, once the id is stored."""
    body = {"code": code, "airtmUserEmail": email, "amount": number(amount), "notes": notes, "commit": False}
    if require_id_verified:
        # Airtm takes it from accounts only that were enabled for it.
        body["requireIdVerified"] = True
    return msgspec.json.encode(body)


def amount_of(value: Any) -> Units:
    """An amount from a JSON number. Raises ValueError, never rounds a fraction of money.

    Airtm computes in doubles, so 25.5 - 25.1 may arrive as 0.3999999999999986. What is within 10^-9 of a whole unit
    of 10^-7 is that unit; anything further off is refused.
    """
    if isinstance(value, str):
        raise ValueError(f"an amount in quotes: {value!r}"[:80])  # noqa: TRY004 - the value is wrong, not its type
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() <= DECIMAL_EXPONENT_MAX:
        nearest = value.quantize(_UNIT)
        if abs(value - nearest) <= _NOISE_MAX:
            # Adding zero drops the sign of a negative zero.
            value = nearest + 0
    return units_of(value)


def read_user(row: dict[str, Any]) -> AirtmUser:
    """A user, from `GET /users/{email}`."""
    return AirtmUser(
        id=_id(row["id"]),
        is_active=_word(row["status"]) == "ACTIVE",
        raw_status=row["status"],
        is_verified=row["isVerified"] is True,
        country=_text(row.get("country")),
    )


def read_payin(row: dict[str, Any], checkout_url: str) -> Payin:
    """A payin, whose payer is sent to `<checkout_url>/<id>`."""
    payin_id = _id(row["id"])
    status = _word(row["status"])
    amount, net_amount = _amounts(row)
    return Payin(
        id=payin_id,
        code=_required(row["code"]),
        status=PAYIN_STATUSES.get(status, "UNRECOGNISED"),
        raw_status=row["status"],
        amount=amount,
        net_amount=net_amount,
        fee=amount_of(row["airtmFee"]),
        airtm_user_id=_text(row.get("airtmUserId")),
        failure_reason=_text(row.get("failureReason")),
        checkout_url=f"{checkout_url}/{payin_id}",
    )


def read_payout(row: dict[str, Any]) -> Payout:
    """A payout."""
    status = _word(row["status"])
    amount, net_amount = _amounts(row)
    return Payout(
        id=_id(row["id"]),
        code=_text(row.get("code")),
        status=PAYOUT_STATUSES.get(status, "UNRECOGNISED"),
        raw_status=row["status"],
        amount=amount,
        net_amount=net_amount,
        fee=amount_of(row["airtmFee"]),
        airtm_user_id=_text(row.get("airtmUserId")),
        reason_code=_text(row.get("reasonCode")),
        reason=_text(row.get("reasonDescription")),
    )


def read_balance(row: dict[str, Any]) -> AirtmBalance:
    """Our own balance, from `GET /me/balance`."""
    return AirtmBalance(available=amount_of(row["available"]), pending=amount_of(row["pending"]))


def read_deposits(row: dict[str, Any]) -> Deposits:
    """One page of `GET /deposits`. Of what is no refund only the id is read: it moves nothing here."""
    items = row["items"]
    if not isinstance(items, list):
        raise ValueError("the items are no list")  # noqa: TRY004 - the value is wrong, not its type
    refunds = tuple(_refund(item) for item in items if _word(item["type"]) == "REFUNDED")
    return Deposits(tuple(_id(item["id"]) for item in items), refunds, _text(row.get("endCursor")))


def _refund(row: dict[str, Any]) -> Refund:
    amount = amount_of(row["amount"])
    if amount <= 0 or row.get("currency", "USD") not in _DOLLARS:
        raise ValueError(f"not a sum of dollars: {amount} {row.get('currency')!r}"[:80])
    return Refund(_id(row["id"]), _text(row.get("refundedPayoutId")), amount)


def _amounts(row: dict[str, Any]) -> tuple[Units, Units]:
    amount, net_amount = amount_of(row["amount"]), amount_of(row["netAmount"])
    if net_amount > amount:
        raise ValueError(f"the net amount {net_amount} is more than the amount {amount}")
    return amount, net_amount


def _id(value: Any) -> str:
    text = _required(value)
    if not _ID.fullmatch(text):
        raise ValueError(f"not an id: {text!r}"[:80])
    return text


def _required(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_CHARACTERS_MAX:
        raise ValueError(f"not a text: {value!r}"[:80])
    return value


def _word(value: Any) -> str:
    """A status in one spelling: Airtm's own pages write both cases."""
    return _required(value).upper()


def _text(value: Any) -> str | None:
    """An optional text, cut to a length that can be stored."""
    return value[:_TEXT_CHARACTERS_MAX] if isinstance(value, str) and value else None

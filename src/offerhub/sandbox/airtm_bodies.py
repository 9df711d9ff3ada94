"""The bodies of the Airtm face, read strictly, and what it answers (providers.md 2.3)."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from offerhub.sandbox.airtm_model import Deposit, Payin, Payout, Person

DESCRIPTION_MAX: Final = 250
ENTERPRISE_ID: Final = "7c1e5f5e-0c07-4d5c-9d0b-0f0e6d1c2b3a"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_AMOUNT_MAX: Final = Decimal(10_000_000_000)
"""Ten digits before the point, as many as the amounts of our own API may have."""


class BadBody(ValueError):
    """The body is not what the route takes; the text says why."""


class PayinBody(msgspec.Struct, frozen=True):
    """`POST /payins`, amounts in cents."""

    code: str
    amount: int
    description: str
    items: list[dict[str, Any]]
    confirmation_uri: str
    cancel_uri: str


class PayoutBody(msgspec.Struct, frozen=True):
    """`POST /payouts`, amounts in cents."""

    email: str
    amount: int
    notes: str
    commit: bool
    code: str | None
    enterprise_fee: int
    internal_note: str | None
    require_id_verified: bool


def read_payin(raw: bytes) -> PayinBody:
    """The body of `POST /payins`. Raises BadBody."""
    row = _row(raw, {"code", "amount", "description", "items", "confirmationUri", "cancelUri"}, set())
    items = row["items"]
    if not isinstance(items, list) or not items:
        raise BadBody("items must be a list with at least one item")
    amount, total = cents(row["amount"]), 0
    for item in items:
        if not isinstance(item, dict) or set(item) != {"description", "amount", "quantity"}:
            raise BadBody("an item has a description, an amount and a quantity")
        quantity = item["quantity"]
        if not isinstance(quantity, int) or quantity < 1:
            raise BadBody("quantity must be a whole number of at least 1")
        total += cents(item["amount"]) * quantity
        item["amount"] = str(item["amount"])
    if total != amount:
        raise BadBody("amount must be the sum of the items")
    return PayinBody(
        code=_text(row, "code", 255),
        amount=amount,
        description=_text(row, "description", DESCRIPTION_MAX),
        items=items,
        confirmation_uri=_address(row, "confirmationUri"),
        cancel_uri=_address(row, "cancelUri"),
    )


def read_payout(raw: bytes) -> PayoutBody:
    """The body of `POST /payouts`. Raises BadBody."""
    optional = {"code", "commit", "enterpriseFee", "internalNote", "requireIdVerified"}
    row = _row(raw, {"airtmUserEmail", "amount", "notes"}, optional)
    email = _text(row, "airtmUserEmail", 320)
    if not _EMAIL.fullmatch(email):
        raise BadBody("airtmUserEmail must be an e-mail address")
    fee = cents(row["enterpriseFee"]) if row.get("enterpriseFee") else 0
    amount = cents(row["amount"])
    if fee >= amount:
        raise BadBody("enterpriseFee must be less than amount")
    flags = {name: row.get(name, False) for name in ("commit", "requireIdVerified")}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise BadBody("commit and requireIdVerified must be true or false")
    return PayoutBody(
        email=email,
        amount=amount,
        notes=_text(row, "notes", 500),
        commit=flags["commit"],
        code=_text(row, "code", 255) if "code" in row else None,
        enterprise_fee=fee,
        internal_note=_text(row, "internalNote", 500) if "internalNote" in row else None,
        require_id_verified=flags["requireIdVerified"],
    )


def payin_json(payin: Payin) -> dict[str, Any]:
    """A payin as Airtm answers it."""
    return {
        "id": payin.id,
        "code": payin.code,
        "status": payin.status,
        "amount": _number(payin.amount),
        "netAmount": _number(payin.amount - payin.fee),
        "airtmFee": _number(payin.fee),
        "description": payin.description,
        "items": [item | {"amount": Decimal(item["amount"])} for item in payin.items],
        **({"airtmUserId": Person(payin.payer).id, "airtmUserEmail": payin.payer} if payin.payer else {}),
        **({"failureReason": payin.failure_reason} if payin.failure_reason else {}),
        "confirmationUri": payin.confirmation_uri,
        "cancelUri": payin.cancel_uri,
        "createdAt": when(payin.created_at),
        "updatedAt": when(payin.updated_at),
    }


def payout_json(payout: Payout) -> dict[str, Any]:
    """A payout as Airtm answers it."""
    return {
        "id": payout.id,
        **({"code": payout.code} if payout.code is not None else {}),
        "airtmUserId": Person(payout.email).id,
        "airtmUserEmail": payout.email,
        "requireIdVerified": payout.require_id_verified,
        "notes": payout.notes,
        "internalNote": payout.internal_note,
        "status": payout.status,
        "grossAmount": _number(payout.gross),
        "amount": _number(payout.amount),
        "netAmount": _number(payout.amount - payout.fee),
        "airtmFee": _number(payout.fee),
        "enterpriseFee": _number(payout.enterprise_fee),
        **(
            {"reasonCode": payout.reason_code, "reasonDescription": payout.reason}
            if payout.reason_code is not None
            else {}
        ),
        "createdAt": when(payout.created_at),
        "updatedAt": when(payout.updated_at),
    }


def deposit_json(deposit: Deposit) -> dict[str, Any]:
    """A deposit as Airtm answers it."""
    return {
        "id": deposit.id,
        "type": deposit.type,
        "name": f"Sandbox {deposit.type}",
        "currency": "USD",
        "amount": _number(deposit.amount),
        "availableBalance": _number(deposit.amount),
        "enterpriseUserId": ENTERPRISE_ID,
        "bridgeTransactionId": deposit.id,
        "createdAt": when(deposit.created_at),
        "updatedAt": when(deposit.created_at),
        **({"refundedPayoutId": deposit.refunded_payout_id} if deposit.refunded_payout_id else {}),
    }


def balance_json(available: int, pending: int) -> dict[str, Any]:
    """The enterprise's balance."""
    return {"available": _number(available), "pending": _number(pending)}


encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder(decimal_format="number").encode
"""JSON with amounts as numbers, digit by digit; they never pass through a float."""


def when(seconds: int) -> str:
    """A time as Airtm writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def cents(value: Any) -> int:
    """A JSON number of dollars with at most two decimals, at least 0.01. Raises BadBody."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise BadBody("an amount must be a number")
    exact = Decimal(value)
    if not exact.is_finite() or not 0 < exact < _AMOUNT_MAX or exact * 100 != int(exact * 100):
        raise BadBody("an amount must have at most two decimals and be at least 0.01")
    return int(exact * 100)


def _number(amount: int) -> Decimal:
    return Decimal(amount).scaleb(-2)


def _row(raw: bytes, required: set[str], optional: set[str]) -> dict[str, Any]:
    try:
        row = json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise BadBody("the body is not JSON") from error
    if not isinstance(row, dict):
        raise BadBody("the body must be an object")
    missing, unknown = required - set(row), set(row) - required - optional
    if missing or unknown:
        raise BadBody(f"missing: {sorted(missing)}, unknown: {sorted(unknown)}")
    return row


def _text(row: dict[str, Any], name: str, characters_max: int) -> str:
    value = row[name]
    if not isinstance(value, str) or not 0 < len(value) <= characters_max:
        raise BadBody(f"{name} must be a text of at most {characters_max} characters")
    return value


def _address(row: dict[str, Any], name: str) -> str:
    value = _text(row, name, 2000)
    if urlsplit(value).scheme not in {"http", "https"}:
        raise BadBody(f"{name} must be an address of the web")
    return value

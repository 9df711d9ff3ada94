"""The bodies of the Connect face, read strictly, and what it answers; amounts are texts (providers.md 2.4)."""

import json
import re
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar

import msgspec
from stellar_sdk import StrKey

from offerhub.kernel.money import format_amount, is_whole_cents, parse_chain_amount
from offerhub.sandbox.airtm_bodies import when
from offerhub.sandbox.airtm_model import Person
from offerhub.sandbox.connect_model import (
    AMOUNT_MAX,
    AMOUNT_MIN,
    MEMO_BYTES_MAX,
    REFERENCE_MAX,
    ConnectRefused,
    Quote,
    Transfer,
    Wallet,
    WalletScope,
)

T = TypeVar("T")

_AMOUNT: Final = re.compile(r"\d{1,10}(\.\d{1,2})?")
_CODE: Final = re.compile(r"\d{4,8}")


class QuoteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /quotes`."""

    scope: WalletScope
    amountToSend: str | None = None
    amountToReceive: str | None = None
    partnerFee: str | None = None


class DestinationBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a send goes."""

    stellarAddress: str
    memo: str | None = None
    memoType: Literal["MEMO_TEXT"] | None = None


class TransactionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /transactions`."""

    quoteId: str
    scope: WalletScope
    partnerReference: str | None = None
    destination: DestinationBody | None = None


class TwoFactorBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /transactions/{id}/2fa`."""

    code: str


def invalid(message: str) -> ConnectRefused:
    """A request that is not as the route wants it."""
    return ConnectRefused(400, message, code="415054")


def decoded(raw: bytes) -> Any:
    """The JSON of a body. Raises ConnectRefused."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise invalid("the body is not JSON") from error


def read_quote(raw: bytes) -> QuoteBody:
    """Raises ConnectRefused."""
    body = _as(raw, QuoteBody)
    if (body.amountToSend is None) == (body.amountToReceive is None):
        raise invalid("exactly one of amountToSend and amountToReceive must be given")
    return body


def read_transaction(raw: bytes) -> TransactionBody:
    """Raises ConnectRefused."""
    body = _as(raw, TransactionBody)
    reference, destination = body.partnerReference, body.destination
    if reference is not None and not 0 < len(reference) <= REFERENCE_MAX:
        raise invalid(f"partnerReference must have 1 to {REFERENCE_MAX} characters")
    if body.scope == "wallet:receive":
        if reference is None:
            raise invalid("a receive needs a partnerReference")
        if destination is not None:
            raise invalid("a receive has no destination")
        return body
    if destination is None:
        raise invalid("a send needs a destination")
    if not StrKey.is_valid_ed25519_public_key(destination.stellarAddress):
        raise invalid("stellarAddress must be an account of Stellar")
    if destination.memo is not None and len(destination.memo.encode()) > MEMO_BYTES_MAX:
        raise ConnectRefused(400, f"The memo is longer than {MEMO_BYTES_MAX} bytes", code="415120")
    return body


def read_code(raw: bytes) -> str:
    """The code of two-factor authentication. Raises ConnectRefused."""
    code = _as(raw, TwoFactorBody).code
    if not _CODE.fullmatch(code):
        raise invalid("code must have 4 to 8 digits")
    return code


def units_of(text: str, name: str, *, least: int = AMOUNT_MIN) -> int:
    """An amount in units. Raises ConnectRefused."""
    if not _AMOUNT.fullmatch(text):
        raise invalid(f"{name} must be a text with at most two decimals, such as 25.50")
    units = parse_chain_amount(text)
    if not (least <= units <= AMOUNT_MAX and is_whole_cents(units)):
        raise invalid(f"{name} must be from {format_amount(least)} to {format_amount(AMOUNT_MAX)}")
    return units


def moment_of(text: str, name: str) -> int:
    """A time as ISO 8601 has it; without a zone it is UTC. Raises ConnectRefused."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid(f"{name} must be a time, such as 2026-01-31T00:00:00Z") from error
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def balance_json(units: int) -> dict[str, Any]:
    """`GET /balance`."""
    limits = {"min": format_amount(AMOUNT_MIN), "max": format_amount(AMOUNT_MAX)}
    shown = {"asset": "USDC", "network": "stellar", "balance": format_amount(units)}
    return {**shown, "limits": {"send": limits, "receive": limits}}


def kyc_json(wallet: Wallet) -> dict[str, Any]:
    """`GET /kyc`; who somebody is stands there once it is verified."""
    if wallet.kyc != "verified":
        return {"status": wallet.kyc, "fullLegalName": None, "country": None, "verifiedAt": None}
    person = Person(wallet.id).wire()
    name = f"{person['firstName']} {person['lastName']}"
    return {
        "status": wallet.kyc,
        "fullLegalName": name,
        "country": person["country"],
        "verifiedAt": when(wallet.kyc_at),
    }


def quote_json(quote: Quote) -> dict[str, Any]:
    """A quote as Airtm answers it."""
    return {
        "id": quote.id,
        "scope": quote.scope,
        "asset": "USDC",
        "network": "stellar",
        "amountToSend": format_amount(quote.amount_to_send),
        "amountToReceive": format_amount(quote.amount_to_receive),
        "airtmFee": format_amount(quote.fee),
        "partnerFee": format_amount(quote.partner_fee),
        "createdAt": when(quote.created_at),
        "expiresAt": when(quote.expires_at),
    }


def transfer_json(transfer: Transfer) -> dict[str, Any]:
    """A transaction as Airtm answers it."""
    memo = {} if transfer.memo is None else {"memo": transfer.memo, "memoType": "MEMO_TEXT"}
    place: dict[str, Any] = {"stellarAddress": transfer.address, **memo}
    if not transfer.is_send:
        place["amountExpected"] = format_amount(transfer.amount_to_send)
        place["expiresAt"] = when(transfer.expires_at)
    return {
        "id": transfer.id,
        "scope": transfer.scope,
        "status": transfer.status,
        "quoteId": transfer.quote,
        **({"partnerReference": transfer.partner_reference} if transfer.partner_reference is not None else {}),
        "asset": "USDC",
        "network": "stellar",
        "amountToSend": format_amount(transfer.amount_to_send),
        "amountToReceive": format_amount(transfer.amount_to_receive),
        "airtmFee": format_amount(transfer.fee),
        "partnerFee": format_amount(transfer.partner_fee),
        ("destination" if transfer.is_send else "deposit"): place,
        **({"stellarTransactionHash": transfer.hash} if transfer.hash is not None else {}),
        **({"failureReason": transfer.failure_reason} if transfer.failure_reason is not None else {}),
        "createdAt": when(transfer.created_at),
        "updatedAt": when(transfer.updated_at),
    }


def _as(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.convert(decoded(raw), kind)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from error

"""What it means when Airtm says no: by its code first, by the HTTP status second (providers.md 2.2). Pure.

Airtm does not publish which status goes with which code, and a code may come with any of them.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from offerhub.errors import (
    AirtmUserInvalid,
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    Refusal,
)
from offerhub.providers.airtm.model import Exists, Rejected, Unavailable, Unknown
from offerhub.providers.airtm.wire import Request
from offerhub.runtime.http import GarbledAnswer, Response

_ITEM_UNKNOWN: Final = "415902"
OUR_BALANCE_TOO_LOW: Final = "415016"
_UPSTREAM_UNREACHABLE: Final = "415003"

_USER_UNKNOWN: Final = "415059"
NO_SUCH_USER: Final = frozenset({_ITEM_UNKNOWN, _USER_UNKNOWN})
NO_SUCH_PAYIN: Final = frozenset({_ITEM_UNKNOWN, "415031"})
NO_SUCH_PAYOUT: Final = frozenset({_ITEM_UNKNOWN, "415005"})

_AUTH: Final = frozenset({"415006", "415024", "415025", "415028", "415904", "415905"})
_DONE_ALREADY: Final = frozenset({"415027", "415029", "415032", "415056"})
_EFFECT_UNKNOWN: Final = frozenset({"415998", "415999"})

RECIPIENT: Final[Mapping[str, str]] = {
    "415008": "USER_INACTIVE",
    "415009": "USER_INACTIVE",
    "415010": "USER_INACTIVE",
    "415034": "USER_BALANCE_TOO_LOW",
    "415053": "USER_COUNTRY_CANNOT_PAY_IN",
    _USER_UNKNOWN: "USER_NOT_FOUND",
    "415060": "USER_IN_RESTRICTED_TERRITORY",
    "415061": "USER_IN_RESTRICTED_TERRITORY",
    "415062": "USER_PAYMENT_METHOD_UNSUITABLE",
    "415064": "USER_PAYMENT_METHOD_UNSUITABLE",
    "415065": "USER_REFUSED_BY_COMPLIANCE",
    "415103": "USER_NAME_MISSING",
    "415912": "USER_SIGN_UP_PENDING",
}
"""The user at the other end cannot pay or be paid: Airtm's code, and our `details.failureReason`."""

_NO_WAY: Final = "Airtm has no way to pay there."
_MEANINGS: Final[Mapping[str, str]] = {
    "415005": "Airtm knows no such payout.",
    "415014": "The marketplace's own Airtm balance does not cover this payout.",
    "415015": "This is more than the most that Airtm pays out for the marketplace in a day.",
    OUR_BALANCE_TOO_LOW: "The marketplace's own Airtm balance does not cover this payout.",
    "415027": "Airtm has processed this payout already.",
    "415029": "Airtm has a payin with this code already.",
    "415030": "Airtm says that the payin can no longer be confirmed or cancelled.",
    "415031": "Airtm knows no such payin.",
    "415032": "Airtm has completed this payin already.",
    "415035": "The amount is too small for Airtm.",
    "415036": _NO_WAY,
    "415046": _NO_WAY,
    "415048": _NO_WAY,
    "415049": _NO_WAY,
    "415050": _NO_WAY,
    "415051": _NO_WAY,
    "415054": "Airtm found the call not valid.",
    "415055": "Airtm says that the payout can no longer be cancelled.",
    "415056": "Airtm has a payout with this code already.",
    "415057": "The amount is too large for Airtm.",
    "415058": "The amount is too small for Airtm.",
    "415073": "Airtm could not deliver the payout.",
    "415901": "Airtm found the call not valid.",
    _ITEM_UNKNOWN: "Airtm knows no such item.",
    "415903": "Airtm found the call not valid.",
    "415906": "Airtm found the call not valid.",
}

_DOCUMENTED: Final = frozenset({*_MEANINGS, *RECIPIENT, *_AUTH, *_EFFECT_UNKNOWN, _UPSTREAM_UNREACHABLE})

_CODE = re.compile(r"[0-9]{6}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_MESSAGE_CHARACTERS_MAX: Final = 200


def body_of(response: Response) -> dict[str, Any] | None:
    """The body when it is a JSON object, or None: the errors of a proxy in between are not."""
    try:
        body = response.json()
    except GarbledAnswer:
        return None
    return body if isinstance(body, dict) else None


def code_of(response: Response) -> str | None:
    """Airtm's error code, where the answer carries one, be it in a success: Airtm is believed when it says no.

    A success with an id is the thing itself, whose `code` is our own reference and may look like anything.
    """
    body = body_of(response)
    if body is None or (response.status < 400 and "id" in body):
        return None
    code = str(body.get("code"))
    return code if _CODE.fullmatch(code) else None


def is_success(response: Response) -> bool:
    """True for a 2xx that carries no error after all."""
    return 200 <= response.status < 300 and code_of(response) is None


def is_absence(response: Response, absent: frozenset[str]) -> bool:
    """True when Airtm says that it knows no such thing, by one of those codes or by a 404 of its own.

    A 404 that is not JSON comes from something in between, and proves nothing about what Airtm knows.
    """
    code = code_of(response)
    return code in absent or (response.status == 404 and body_of(response) is not None and code not in _DOCUMENTED)


def refuses_us(status: int, code: str | None) -> bool:
    """True when our credentials or permissions are refused: nothing works until a person mends them."""
    return code in _AUTH or (status in {401, 403} and code not in _DOCUMENTED)


def judge(request: Request, response: Response) -> Exists | Rejected | Unavailable | Unknown:
    """What a call with effect came to, when its answer is not a success."""
    status, code = response.status, code_of(response)
    if code in _DONE_ALREADY:
        return Exists()
    if code in _EFFECT_UNKNOWN:
        return Unknown(f"{request.method} {request.path}: HTTP {status}, code {code}")
    refusal = refusal_of(request, response)
    if code == _UPSTREAM_UNREACHABLE or (status == 429 and code not in _DOCUMENTED):
        return Unavailable(refusal)
    if code in _DOCUMENTED or refuses_us(status, code):
        return Rejected(refusal, code)
    # Where money moves, only words that we know may say that it did not. Elsewhere the class of the status counts,
    # save for a time-out, a conflict (which may be with our own earlier call) and what is not from Airtm.
    is_classed = 400 <= status < 500 and status not in {408, 409} and body_of(response) is not None
    if is_classed and not request.moves_money:
        return Rejected(refusal, code)
    return Unknown(
        f"{request.method} {request.path}: HTTP {status}, " + (f"code {code}" if code else "no known code")
    )


def refusal_of(request: Request, response: Response) -> Refusal:
    """The error of our catalogue for an answer that is not a success, whether it had an effect or not."""
    status, code = response.status, code_of(response)
    details = details_of(request, status, code)
    if refuses_us(status, code):
        # Airtm's words are left out here: they could repeat the key.
        return ProviderError("Airtm refused our credentials.", **details)
    said = (body_of(response) or {}).get("message")
    if isinstance(said, str) and said:
        details["providerMessage"] = _EMAIL.sub("***", said)[:_MESSAGE_CHARACTERS_MAX]
    if code is not None and code in _DOCUMENTED:
        return _refusal_of_code(code, details)
    return _refusal_of_status(status, details)


def _refusal_of_code(code: str, details: dict[str, Any]) -> Refusal:
    if code in RECIPIENT:
        return AirtmUserInvalid(failureReason=RECIPIENT[code], **details)
    if code in _MEANINGS:
        return ProviderError(_MEANINGS[code], **details)
    return ProviderUnavailable("Airtm has trouble of its own.", **details)


def _refusal_of_status(status: int, details: dict[str, Any]) -> Refusal:
    if status == 429:
        return ProviderRateLimited("Airtm limits our calls.", **details)
    if status in {408, 504}:
        return ProviderTimeout("Airtm did not answer in time.", **details)
    if status >= 500:
        return ProviderUnavailable("Airtm is unavailable.", **details)
    return ProviderError("Airtm refused the call.", **details)


def details_of(request: Request, status: int | None, code: str | None = None) -> dict[str, Any]:
    """The details that every error about Airtm carries. `path` names no id, no code and no e-mail."""
    return {
        "provider": "AIRTM",
        "method": request.method,
        "path": request.path,
        "originalStatus": status,
        "reasonCode": code,
    }

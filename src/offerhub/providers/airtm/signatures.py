"""Is it really from Airtm? Signatures as Svix makes them (providers 3.1), over the bytes that came.

HMAC-SHA256 over `<id>.<timestamp>.<body>`, with the time of each attempt, so that an old delivery cannot be played
again. Every secret in force is tried, so that one can be replaced while both are in use.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from offerhub.errors import WebhookSignatureInvalid

TOLERANCE_SECONDS: Final = 300
SECRET_PREFIX: Final = "whsec_"
MESSAGE_ID_CHARACTERS_MAX: Final = 255

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_MESSAGE_ID = re.compile(rf"[!-~]{{1,{MESSAGE_ID_CHARACTERS_MAX}}}", re.ASCII)
_BRANDS: Final = ("svix", "webhook")


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> str:
    """The id of the message. Raises WebhookSignatureInvalid, also when there is no secret to verify it with.

    `headers` by lower-case name: `svix-id`, `svix-timestamp`, `svix-signature`, or all three as `webhook-…`.
    """
    brand = next((brand for brand in _BRANDS if f"{brand}-signature" in headers), "svix")
    message_id, timestamp = headers.get(f"{brand}-id", ""), headers.get(f"{brand}-timestamp", "")
    well_formed = _MESSAGE_ID.fullmatch(message_id) and _TIMESTAMP.fullmatch(timestamp)
    if not well_formed or abs(now.timestamp() - int(timestamp)) > TOLERANCE_SECONDS:
        raise _refused(message_id)
    signed = f"{message_id}.{timestamp}.".encode() + body
    entries = headers[f"{brand}-signature"].split(" ") if f"{brand}-signature" in headers else []
    given = [entry[3:].encode("utf-8", "replace") for entry in entries if entry.startswith("v1,")]
    expected = [base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)) for secret in secrets]
    # All pairs are compared, so that the time taken does not tell which one came close.
    if not any([hmac.compare_digest(one, other) for one in given for other in expected]):  # noqa: C419
        raise _refused(message_id)
    return message_id


def key_of(secret: str) -> bytes:
    """The key in a secret `whsec_<base64>`. Raises ValueError when it holds none."""
    text = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is whsec_ and base64") from error
    if not key:
        raise ValueError("a webhook secret is whsec_ and base64")
    return key


def _refused(message_id: str) -> WebhookSignatureInvalid:
    return WebhookSignatureInvalid(provider="AIRTM", svixId=message_id[:MESSAGE_ID_CHARACTERS_MAX] or None)

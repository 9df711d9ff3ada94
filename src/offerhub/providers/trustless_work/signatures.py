"""Is it signed with Trustless Work's secret? The hexadecimal HMAC-SHA256 of the body's bytes (contract 2.11).

Trustless Work itself documents no webhooks (providers 3.4); existing installations have senders of their own.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from offerhub.errors import WebhookSignatureInvalid

HEADERS: Final = ("x-tw-signature", "tw-signature")


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
    """True when it is signed, False when it bears no signature. Raises WebhookSignatureInvalid for a wrong one."""
    given = next((headers[name] for name in HEADERS if name in headers), None)
    if given is None:
        return False
    signature = given.encode("utf-8", "replace")
    expected = [hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode() for secret in secrets]
    if not any([hmac.compare_digest(signature, one) for one in expected]):  # noqa: C419 - all are compared
        raise WebhookSignatureInvalid(provider="TRUSTLESS_WORK")
    return True

"""The signature of a webhook, from the sender's side (providers.md 3.1)."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
KEY_BYTES_MIN: Final = 24
KEY_BYTES_MAX: Final = 64


class BadSecret(ValueError):
    """The text is not a secret that signs."""


def key_of(secret: str) -> bytes:
    """The key in a `whsec_…` secret. Raises BadSecret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError as error:
        raise BadSecret("a secret is whsec_ and base64") from error
    if not secret.startswith(PREFIX) or not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise BadSecret(f"a secret is whsec_ and base64 of {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes")
    return key


def encoded(key: bytes) -> str:
    """A key as a secret shows it behind its prefix."""
    return base64.b64encode(key[:KEY_BYTES_MIN]).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature, such as `v1,g0hM9SsE…`."""
    content = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), content, hashlib.sha256).digest()).decode()


def headers(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of an attempt; during a rotation the newest secret signs first."""
    return {
        "svix-id": message_id,
        "svix-timestamp": str(timestamp),
        "svix-signature": " ".join(sign(secret, message_id, timestamp, body) for secret in secrets),
    }

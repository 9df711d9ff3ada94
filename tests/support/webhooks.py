"""Webhooks as Airtm signs them."""

import base64
import hashlib
import hmac
import time

from offerhub.providers.airtm.signatures import key_of


def airtm_headers(secret: str, body: bytes, message_id: str, at: float | None = None) -> dict[str, str]:
    """The headers of a message of Svix, signed now or at another time."""
    timestamp = str(int(time.time() if at is None else at))
    signed = hmac.digest(key_of(secret), f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    signature = "v1," + base64.b64encode(signed).decode()
    return {"svix-id": message_id, "svix-timestamp": timestamp, "svix-signature": signature}

"""Signatures as the Standard Webhooks specification has them (providers.md 3.1), and the secrets that make them.

A secret is in clear only while it is made, while it signs, and in the one answer that shows it.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from offerhub.runtime.vault import Sealed, Vault, wipe

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 24
USER_AGENT: Final = "OfferHub-Webhooks/1"


def new_secret() -> bytes:
    """A fresh secret; what it signs can be verified with `shown(secret)`."""
    return secrets.token_bytes(SECRET_BYTES)


def shown(secret: bytes | bytearray) -> str:
    """A secret as its owner gets it.

    >>> shown(bytes(range(24)))
    'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX'
    """
    return SECRET_PREFIX + base64.b64encode(secret).decode("ascii")


def read(text: str) -> bytes:
    """A secret from how it is shown. Raises ValueError."""
    return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)


def headers(
    event_id: str, moment: datetime, body: bytes, secrets_in_use: Sequence[bytes | bytearray]
) -> dict[str, str]:
    """The headers of an attempt that begins at this moment: one signature for each secret, the newest first."""
    timestamp = str(int(moment.timestamp()))
    content = f"{event_id}.{timestamp}.".encode() + body
    signatures = [
        "v1," + base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode("ascii")
        for secret in secrets_in_use
    ]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }


class SecretBox:
    """Seals secrets of endpoints, each to its own row, and signs with them."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    @property
    def key_version(self) -> int:
        """The version of the key that seals now."""
        return self._vault.current

    def seal(self, endpoint_id: str, number: int, secret: bytes) -> Sealed:
        """An endpoint's n-th secret at rest."""
        return self._vault.seal(secret, bound_to=_owner(endpoint_id, number))

    def reseal(self, endpoint_id: str, number: int, sealed: Sealed) -> Sealed:
        """The same secret under the current key. Raises VaultError when it does not open."""
        secret = self._vault.open(sealed, bound_to=_owner(endpoint_id, number))
        try:
            return self._vault.seal(secret, bound_to=_owner(endpoint_id, number))
        finally:
            wipe(secret)

    def sign(
        self, endpoint_id: str, sealed: Sequence[tuple[int, Sealed]], event_id: str, moment: datetime, body: bytes
    ) -> dict[str, str]:
        """The headers of an attempt, signed with each of the endpoint's secrets. Raises VaultError."""
        opened: list[bytearray] = []
        try:
            for number, one in sealed:
                opened.append(self._vault.open(one, bound_to=_owner(endpoint_id, number)))
            return headers(event_id, moment, body, opened)
        finally:
            for secret in opened:
                wipe(secret)


def _owner(endpoint_id: str, number: int) -> str:
    return f"webhook:{endpoint_id}:{number}"

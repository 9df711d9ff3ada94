"""Marketplaces and API keys: their shapes, and the format of the credential (contract 1.2)."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

DEFAULT_MARKETPLACE_ID: Final = "mkt_" + "0" * 32
"""Seeded by the first migration; a single-tenant installation never meets another."""

MASTER_SCOPES: Final = frozenset({"read", "write", "support"})
GRANTING_SCOPES: Final = frozenset({"*", "admin"})
"""Only who holds one of these (or the master key) may grant them."""

SECRET_BYTES: Final = 24
API_KEY_NAME_DEFAULT: Final = "API key"
TOKEN_PREFIX: Final = "ohk_tok_"

_API_KEY = re.compile(r"ohk_(?:live|test)_(?P<id>key_[0-9A-Za-z]{32})_[0-9a-f]{48}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Marketplace:
    """A tenant."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it is stored: without its secret, which only its owner has."""

    id: str
    marketplace_id: str
    name: str
    secret_hash: bytes
    last4: str
    scopes: tuple[str, ...]
    user_id: str | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_usable(self, now: datetime) -> bool:
        """False once it is revoked or has expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_credential(key_id: str) -> str:
    """A fresh credential for the key: `ohk_live_key_<32>_<48 hex>`; shown once, never stored."""
    return f"ohk_live_{key_id}_{secrets.token_hex(SECRET_BYTES)}"


def key_id_of(credential: str) -> str | None:
    """The id of the key that the credential claims to be, or None when it has another format."""
    found = _API_KEY.fullmatch(credential)
    return None if found is None else found["id"]


def hash_credential(key_id: str, credential: str) -> bytes:
    """What is stored of a credential. Its 192 random bits need no slow hash, only one that is bound to the row."""
    return hmac.digest(key_id.encode("ascii"), credential.encode(), hashlib.sha256)

"""Redaction: what must not be read back from logs and audit entries (contract 6.3, invariant I17)."""

import functools
import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "***REDACTED***"

_SENSITIVE = re.compile(r"email|account|token|secret|password|key|authorization|salt", re.IGNORECASE)
# Public facts whose names happen to contain a sensitive word: masking them would make the audit useless.
_PUBLIC: Final = frozenset({"publicKey", "public_key", "keyVersion", "last4", "idempotency_key", "apiKeyId"})
_EMAIL = re.compile(r"[^@\s]+@([^@\s]+)")
_SEED_CHARACTERS: Final = 56
_SEED = re.compile(r"\bS[A-Z2-7]{55}\b")
_API_SECRET = re.compile(r"\bohk_[a-z]+_[0-9A-Za-z_.\-]{8,}")


def _mask(text: str) -> str:
    email = _EMAIL.fullmatch(text)
    if email:
        return f"{text[0]}***@{email.group(1)}"
    digits = [character for character in text if character.isdigit()]
    if len(digits) >= 4 and len(digits) * 2 >= len(text):
        return "****" + "".join(digits[-4:])
    return MASK


def scrub(text: str) -> str:
    """Free text without Stellar seeds and API secrets, wherever they stand in it."""
    # Most texts hold neither, which is sooner seen than searched for.
    if len(text) >= _SEED_CHARACTERS:
        text = _SEED.sub(MASK, text)
    return _API_SECRET.sub(MASK, text) if "ohk_" in text else text


@functools.lru_cache(maxsize=1024)
def _is_sensitive(name: str) -> bool:
    return _SENSITIVE.search(name) is not None and name not in _PUBLIC


def redact(value: Any, name: str = "") -> Any:
    """A copy with sensitive values masked by the name of their field, at any depth."""
    # Plain values first: to ask whether one of them is a mapping costs more than all the rest.
    if isinstance(value, str):
        return _mask(value) if _is_sensitive(name) else scrub(value)
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, (dict, Mapping)):
        # Most are texts: a call for each of them would cost more than to look at it.
        return {
            key: scrub(item) if type(item) is str and not _is_sensitive(str(key)) else redact(item, str(key))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item, name) for item in value]
    return value

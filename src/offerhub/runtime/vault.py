"""Secrets at rest: AES-256-GCM, bound to the row they belong to, under a versioned key.

A sealed secret opens only for the `bound_to` (such as `wallet:wal_…`) and key version it was sealed with, so
a ciphertext that is copied into another row, or whose version is edited, does not open. Old keys stay in the
vault for reading until everything has been sealed again under the current one.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16

_LEGACY = re.compile(r"([0-9a-fA-F]{32}):([0-9a-fA-F]{32}):((?:[0-9a-fA-F]{2})*)", re.ASCII)


class VaultError(Exception):
    """The secret cannot be opened: wrong key, wrong owner, unknown key version or damaged."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret at rest: the version of its key, and nonce, ciphertext and tag in one piece."""

    version: int
    blob: bytes


@dataclass(frozen=True, slots=True)
class Vault:
    """Keys by version, of which `current` seals and all open. Each key is 32 bytes.

    Raises VaultError at once when a key has another length or the current one is missing, so that a wrong
    configuration is found at start-up and not at the first withdrawal.
    """

    keys: Mapping[int, bytes] = field(repr=False)
    current: int

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            raise VaultError(f"there is no key of version {self.current}")
        wrong = sorted(version for version, key in self.keys.items() if len(key) != KEY_BYTES)
        if wrong:
            raise VaultError(f"keys must have {KEY_BYTES} bytes; not so: versions {wrong}")

    def seal(self, plaintext: bytes | bytearray, *, bound_to: str) -> Sealed:
        """Encrypt under the current key for this owner."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        cipher = AESGCM(self.keys[self.current])
        ciphertext = cipher.encrypt(nonce, plaintext, _associated(self.current, bound_to))
        return Sealed(self.current, nonce + ciphertext)

    def open(self, sealed: Sealed, *, bound_to: str) -> bytearray:
        """Decrypt for this owner. The caller wipes the result when done (`wipe`). Raises VaultError."""
        key = self.keys.get(sealed.version)
        if key is None:
            raise VaultError(f"there is no key of version {sealed.version}")
        associated = _associated(sealed.version, bound_to)
        return _decrypt(key, sealed.blob[:NONCE_BYTES], sealed.blob[NONCE_BYTES:], associated)


def wipe(secret: bytearray) -> None:
    """Overwrite an opened secret with zeros."""
    secret[:] = bytes(len(secret))


def read_legacy(text: str, key: bytes) -> bytearray:
    """Open a secret of the existing product, for import: `hex(iv16):hex(tag16):hex(ciphertext)` (contract 7).

    Such a secret is bound to no row and names no key version: seal it anew. Raises VaultError.
    """
    parts = _LEGACY.fullmatch(text)
    if parts is None or len(key) != KEY_BYTES:
        raise VaultError("not a secret of the existing product")
    nonce, tag, ciphertext = (bytes.fromhex(part) for part in parts.groups())
    return _decrypt(key, nonce, ciphertext + tag, None)


def _associated(version: int, bound_to: str) -> bytes:
    return f"offerhub:{version}:{bound_to}".encode()


def _decrypt(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes | None) -> bytearray:
    if len(ciphertext) < TAG_BYTES:
        raise VaultError("the secret is cut short")
    # Straight into a buffer of ours: the bytes object that `decrypt` returns could never be wiped.
    opened = bytearray(len(ciphertext) - TAG_BYTES)
    try:
        AESGCM(key).decrypt_into(nonce, ciphertext, associated, opened)
    except InvalidTag as error:
        raise VaultError("the secret does not open: wrong key, wrong owner, or damaged") from error
    return opened

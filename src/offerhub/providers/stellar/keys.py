"""Stellar addresses and secret keys (SEP-23), without stellar-sdk: a request can check an address at once.

An address is base32 of one version byte, the payload and a CRC-16/XMODEM of both, low byte first.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SEED_BYTES: Final = 32
SECRET_CHARACTERS: Final = 56
_VERSION_BYTES: Final = {"G": 6 << 3, "M": 12 << 3, "S": 18 << 3, "C": 2 << 3, "B": 1 << 3, "L": 11 << 3}
_PAYLOAD_BYTES: Final = {"G": 32, "M": 40, "S": 32, "C": 32, "B": 33, "L": 32}


class InvalidAddress(ValueError):
    """This is not a Stellar address: expected G… (account), M… (muxed account) or C… (contract)."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A checked address. `account` is the G… account underneath; a contract has none."""

    address: str
    kind: Literal["account", "muxed", "contract"]
    account: str | None
    muxed_id: int | None


@dataclass(frozen=True, slots=True)
class NewKeypair:
    """A fresh account: its address, and its secret `S…` as ASCII, to be sealed and then wiped."""

    address: str
    secret: bytearray = field(repr=False)


def encode_key(kind: Literal["G", "M", "S", "C", "B", "L"], payload: bytes) -> str:
    """The text of a key: its letter is the kind. B… is a claimable balance, L… a liquidity pool."""
    assert len(payload) == _PAYLOAD_BYTES[kind]
    body = bytes([_VERSION_BYTES[kind]]) + payload
    checked = body + binascii.crc_hqx(body, 0).to_bytes(2, "little")
    return base64.b32encode(checked).decode().rstrip("=")


def decode_key(text: str) -> tuple[str, bytes]:
    """The kind letter and the payload. Raises InvalidAddress for anything but the one canonical spelling."""
    kind = text[:1]
    if kind not in _VERSION_BYTES or not text.isascii():
        raise InvalidAddress(InvalidAddress.__doc__)
    try:
        checked = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error as error:
        raise InvalidAddress(InvalidAddress.__doc__) from error
    payload = checked[1:-2]
    # Encoding again catches a wrong checksum, version byte or length, and stray bits in the last character.
    if len(payload) != _PAYLOAD_BYTES[kind] or encode_key(kind, payload) != text:  # type: ignore[arg-type]
        raise InvalidAddress(InvalidAddress.__doc__)
    return kind, payload


def parse_destination(text: str) -> Destination:
    """Check an address that money is to be sent to. Raises InvalidAddress, also for a secret key."""
    kind, payload = decode_key(text)
    if kind == "G":
        return Destination(text, "account", text, None)
    if kind == "C":
        return Destination(text, "contract", None, None)
    if kind == "M":
        account = encode_key("G", payload[:32])
        return Destination(text, "muxed", account, int.from_bytes(payload[32:], "big"))
    raise InvalidAddress(InvalidAddress.__doc__)


def new_keypair() -> NewKeypair:
    """A new random account key."""
    seed = secrets.token_bytes(SEED_BYTES)
    return NewKeypair(_address_of_seed(seed), bytearray(encode_key("S", seed).encode()))


def seed_of(secret: bytes | bytearray) -> bytes:
    """The 32 seed bytes of a secret `S…`. Raises InvalidAddress."""
    kind, seed = decode_key(secret.decode("ascii", "replace"))
    if kind != "S":
        raise InvalidAddress("not a Stellar secret key")
    return seed


def address_of(secret: bytes | bytearray) -> str:
    """The account address of a secret `S…`. Raises InvalidAddress."""
    return _address_of_seed(seed_of(secret))


def _address_of_seed(seed: bytes) -> str:
    return encode_key("G", Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())

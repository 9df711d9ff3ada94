"""The few kinds of contract values that token events are made of, read without stellar-sdk.

Every page of events has hundreds of them, most of which concern nobody here: this takes microseconds for each, and
no second for loading a library. The numbers are those of Stellar's XDR (SCValType, SCAddressType).
"""

import base64
import binascii
from typing import Final, Literal

from offerhub.providers.stellar.keys import encode_key

_U64: Final = 5
_I128: Final = 10
_BYTES: Final = 13
_STRING: Final = 14
_SYMBOL: Final = 15
_MAP: Final = 17
_ADDRESS: Final = 18

_ADDRESSES: Final[dict[int, tuple[Literal["G", "C", "M", "B", "L"], int, int]]] = {
    0: ("G", 4, 32),
    1: ("C", 0, 32),
    2: ("M", 0, 40),
    3: ("B", 3, 33),
    4: ("L", 0, 32),
}
"""By SCAddressType: the letter, how many bytes to pass over (the tag of a union inside), how many are the key."""


class _Reader:
    """Walks through one value. Raises ValueError where it is not what was expected."""

    def __init__(self, text: str) -> None:
        try:
            self._bytes = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError("not base64") from error
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._bytes[self._at : self._at + count]
        if len(taken) != count:
            raise ValueError("the value is cut short")
        self._at += count
        return taken

    def number(self, count: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(count), "big", signed=signed)

    def kind(self, *allowed: int) -> int:
        found = self.number(4)
        if found not in allowed:
            raise ValueError(f"a value of type {found}")
        return found

    def opaque(self) -> bytes:
        length = self.number(4)
        content = self.take(length)
        self.take(-length % 4)
        return content

    def end(self) -> None:
        if self._at != len(self._bytes):
            raise ValueError("there is more than one value")


def symbol(text: str) -> str:
    """A symbol in base64. Raises ValueError."""
    return _word(text, _SYMBOL).decode("ascii")


def string(text: str) -> str:
    """A string in base64. Raises ValueError."""
    return _word(text, _STRING).decode()


def _word(text: str, kind: int) -> bytes:
    reader = _Reader(text)
    reader.kind(kind)
    found = reader.opaque()
    reader.end()
    return found


def address(text: str) -> str:
    """An address in base64: an account, a contract, a claimable balance or a pool. Raises ValueError."""
    reader = _Reader(text)
    reader.kind(_ADDRESS)
    known = _ADDRESSES.get(reader.number(4))
    if known is None:
        raise ValueError("an address of an unknown type")
    letter, passed, count = known
    reader.take(passed)
    key = reader.take(count)
    reader.end()
    # Inside a value the id of an M… address is before its key, in its text behind it.
    return encode_key(letter, key[8:] + key[:8] if letter == "M" else key)


def amount(text: str) -> tuple[int, int | str | bytes | None]:
    """The amount of a token event in units, and what its payer added: a number, a text, 32 bytes or nothing.

    The data is an i128, or a map of `amount` and `to_muxed_id` (CAP-67). Raises ValueError.
    """
    reader = _Reader(text)
    memo: int | str | bytes | None = None
    if reader.kind(_I128, _MAP) == _I128:
        units = reader.number(16, signed=True)
    else:
        # The map is an optional in XDR: present, then how many entries.
        if reader.number(4) != 1 or reader.number(4) != 2:
            raise ValueError("not the map of a token event")
        _expect(reader, b"amount")
        reader.kind(_I128)
        units = reader.number(16, signed=True)
        _expect(reader, b"to_muxed_id")
        memo = _memo(reader)
    reader.end()
    return units, memo


def _expect(reader: _Reader, name: bytes) -> None:
    reader.kind(_SYMBOL)
    if reader.opaque() != name:
        raise ValueError("not the map of a token event")


def _memo(reader: _Reader) -> int | str | bytes:
    kind = reader.kind(_U64, _BYTES, _STRING)
    if kind == _U64:
        return reader.number(8)
    content = reader.opaque()
    return content.decode("utf-8", "replace") if kind == _STRING else content

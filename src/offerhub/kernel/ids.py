"""Prefixed ids: `ord_` and 32 characters of [0-9A-Za-z], ordered by time so that indexes stay dense.

The first nine characters are the millisecond of creation, the other 23 are random (137 bits). They sort by
creation under the C collation. No `_` occurs behind the prefix: API keys are split on it (contract 1.6).
"""

import os
import re
import time
from collections.abc import Callable
from typing import Final, Literal

Prefix = Literal[
    "usr", "ord", "topup", "esc", "dsp", "wd", "evt", "aud", "key", "mkt", "wal", "sga", "mst", "req", "run", "fnd",
    "whe", "whd",
]  # fmt: skip

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TIME_CHARACTERS: Final = 9
_RANDOM_CHARACTERS: Final = 23
_ENTROPY_BYTES: Final = 2_048
_ID = re.compile(r"[a-z]{2,5}_[0-9A-Za-z]{32}", re.ASCII)


# 248 is the greatest multiple of 62 in a byte: each character is as likely as any other once the rest is left out.
_TO_CHARACTER: Final = bytes(ord(_ALPHABET[byte % 62]) for byte in range(256))
_LEFT_OUT: Final = bytes(range(248, 256))


class _Characters:
    """Random characters from the system's source, fetched for many ids at once: each fetch is a system call."""

    def __init__(self, drawn: Callable[[bytes], str]) -> None:
        self._drawn = drawn
        self._rest = ""
        # Two processes must never draw from one store.
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Fetch anew next time."""
        self._rest = ""

    def take(self, count: int) -> str:
        """So many characters that nobody was given before."""
        while len(self._rest) < count:
            self._rest += self._drawn(os.urandom(_ENTROPY_BYTES))
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


def _letters_and_digits(drawn: bytes) -> str:
    return drawn.translate(_TO_CHARACTER, _LEFT_OUT).decode("ascii")


_characters: Final = _Characters(_letters_and_digits)
_hexadecimals: Final = _Characters(bytes.hex)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


_moment: tuple[int, str] = (0, "")


def _of_now() -> str:
    """The characters of this millisecond, in which many ids are made."""
    global _moment  # noqa: PLW0603 - what was computed last; whoever reads it sees one whole pair
    now = time.time_ns() // 1_000_000
    if _moment[0] != now:
        _moment = now, _base62(now, _TIME_CHARACTERS)
    return _moment[1]


def new_id(prefix: Prefix) -> str:
    """A fresh id such as `ord_0VkZ…`: the prefix, an underscore, 32 characters."""
    return f"{prefix}_{_of_now()}{_characters.take(_RANDOM_CHARACTERS)}"


def new_uuid() -> str:
    """A random UUID, as RFC 9562 has its version 4."""
    drawn = _hexadecimals.take(31)
    variant = "89ab"[int(drawn[15], 16) & 3]
    return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[12:15]}-{variant}{drawn[16:19]}-{drawn[19:]}"


def is_id(text: str, prefix: Prefix) -> bool:
    """True when the text has the shape of an id with this prefix; says nothing about whether it exists."""
    return text.startswith(prefix + "_") and _ID.fullmatch(text) is not None

"""Prefixed ids: `ord_` and 32 characters of [0-9A-Za-z], ordered by time so that indexes stay dense.

The first nine characters are the millisecond of creation, the other 23 are random (137 bits). They sort by
creation under the C collation. No `_` occurs behind the prefix: API keys are split on it (contract 1.6).
"""

import re
import secrets
import time
from typing import Final, Literal

Prefix = Literal[
    "usr", "ord", "topup", "esc", "dsp", "wd", "evt", "aud", "key", "mkt", "wal", "sga", "mst", "req", "run", "fnd",
    "whe", "whd",
]  # fmt: skip

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TIME_CHARACTERS: Final = 9
_RANDOM_CHARACTERS: Final = 23
_RANDOM_BOUND: Final = 62**_RANDOM_CHARACTERS
_ID = re.compile(r"[a-z]{2,5}_[0-9A-Za-z]{32}", re.ASCII)


_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


def _base62(number: int, width: int) -> str:
    pairs = []
    for _ in range((width + 1) // 2):  # two digits a division: ids are made several times a request
        number, pair = divmod(number, 3844)
        pairs.append(_PAIRS[pair])
    return "".join(reversed(pairs))[-width:]


def new_id(prefix: Prefix) -> str:
    """A fresh id such as `ord_0VkZ…`: the prefix, an underscore, 32 characters."""
    moment = _base62(time.time_ns() // 1_000_000, _TIME_CHARACTERS)
    return f"{prefix}_{moment}{_base62(secrets.randbelow(_RANDOM_BOUND), _RANDOM_CHARACTERS)}"


def is_id(text: str, prefix: Prefix) -> bool:
    """True when the text has the shape of an id with this prefix; says nothing about whether it exists."""
    return text.startswith(prefix + "_") and _ID.fullmatch(text) is not None

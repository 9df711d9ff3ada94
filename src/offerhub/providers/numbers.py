"""Amounts as JSON numbers, in whole tokens: how both Airtm and Trustless Work write them. Pure.

Their text is written here, digit by digit, from integer units, and read from a Decimal; they never pass through
a float.
"""

from decimal import Decimal
from typing import Any, Final

import msgspec

from offerhub.kernel.money import (
    UNITS_MAX,
    Units,
    format_amount,
    format_chain_amount,
    is_whole_cents,
    parse_chain_amount,
)

DECIMAL_EXPONENT_MAX: Final = 15


def number(units: int) -> msgspec.Raw:
    """An amount as the text of a JSON number. Asserts that it is positive and a whole number of cents."""
    assert units > 0
    assert is_whole_cents(units)
    return msgspec.Raw(format_amount(units).encode())


def exact_number(units: int) -> msgspec.Raw:
    """An amount that need not be whole cents, as the text of a JSON number. Asserts that it is positive.

    >>> bytes(exact_number(1_000_000_001)), bytes(exact_number(1_000_000))
    (b'100.0000001', b'0.1')
    """
    assert units > 0
    return msgspec.Raw(format_chain_amount(units).rstrip("0").rstrip(".").encode())


def units_of(value: Any) -> Units:
    """An amount from a JSON number (int or Decimal) or its text. Raises ValueError, never rounds."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError(f"not an amount: {value!r}"[:80])  # noqa: TRY004 - the value is wrong, not its type
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > DECIMAL_EXPONENT_MAX:
            raise ValueError(f"not an amount: {value}"[:80])
        value = f"{value:f}"
    text = str(value)
    if "." in text:
        # Trailing zeros beyond the seventh decimal are the sender's formatting, not money.
        text = text.rstrip("0").rstrip(".")
    units = parse_chain_amount(text)
    if units > UNITS_MAX:
        raise ValueError(f"more than any account can hold: {text}")
    return units

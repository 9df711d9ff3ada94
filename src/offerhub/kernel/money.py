"""Money is a whole number of units of a named asset; no float ever reaches a posting.

A unit is 10^-7 of the asset, Stellar's own precision (SEP-11 "stroop"). The wire shows two decimals:
parsing accepts exactly two and nothing else, formatting floors, so dust stays in the books.
"""

import re
from typing import Final, NewType

Units = NewType("Units", int)
"""A count of 10^-7 parts of one USD (= one USDC)."""

ASSET: Final = "USD"
DECIMALS: Final = 7
UNITS_PER_ONE: Final = 10**DECIMALS
UNITS_PER_CENT: Final = 10 ** (DECIMALS - 2)
INTEGER_DIGITS_MAX: Final = 10
"""Ten digits keep every sum of a billion amounts inside a PostgreSQL bigint's 9.2e18 units / 9.2e11 USD."""

UNITS_MAX: Final = 2**63 - 1

_WIRE = re.compile(rf"[0-9]{{1,{INTEGER_DIGITS_MAX}}}\.[0-9]{{2}}", re.ASCII)
_CHAIN = re.compile(r"[0-9]{1,12}(\.[0-9]{1,7})?", re.ASCII)


class AmountError(ValueError):
    """The text is not an amount: write digits, a point and exactly two decimals, such as 12.50."""


def parse_amount(text: str) -> Units:
    """Two-decimal wire text to units; zero is allowed here, the caller decides.

    >>> parse_amount("80.00")
    800000000

    Raises AmountError for a sign, an exponent, another number of decimals or more than ten integer digits.
    """
    if not _WIRE.fullmatch(text):
        raise AmountError(text[:40])
    whole, cents = text.split(".")
    return Units((int(whole) * 100 + int(cents)) * UNITS_PER_CENT)


def format_amount(units: int) -> str:
    """Units to two decimals, floored towards zero: what the wire shows.

    >>> format_amount(12_345_678)
    '1.23'
    """
    sign = "-" if units < 0 else ""
    whole, cents = divmod(abs(units) // UNITS_PER_CENT, 100)
    if whole == 0 and cents == 0:
        sign = ""
    return f"{sign}{whole}.{cents:02d}"


def parse_chain_amount(text: str) -> Units:
    """Decimal text of the chain (at most seven decimals) to units; never rounds.

    >>> parse_chain_amount("25.5000000")
    255000000

    Raises AmountError for anything else.
    """
    if not _CHAIN.fullmatch(text):
        raise AmountError(text[:40])
    whole, _, fraction = text.partition(".")
    return Units(int(whole) * UNITS_PER_ONE + int(fraction.ljust(DECIMALS, "0") or "0"))


def format_chain_amount(units: int) -> str:
    """Units to the seven decimals that Stellar prints.

    >>> format_chain_amount(255_000_000)
    '25.5000000'
    """
    sign = "-" if units < 0 else ""
    whole, fraction = divmod(abs(units), UNITS_PER_ONE)
    return f"{sign}{whole}.{fraction:07d}"


def is_whole_cents(units: int) -> bool:
    """True when the amount has no part smaller than a cent; escrow fee arithmetic is exact only then."""
    return units % UNITS_PER_CENT == 0

"""Amounts as they arrive: text with two decimals, greater than zero, in a currency that we keep books in."""

from typing import Final

from offerhub.errors import InvalidAmountFormat, InvalidCurrency
from offerhub.kernel.money import AmountError, Units, parse_amount

CURRENCIES: Final = ("USD", "USDC")
EXPECTED_FORMAT: Final = 'a string with two decimals, greater than zero, such as "12.50"'


def positive_amount(text: str) -> Units:
    """Wire text to units. Raises InvalidAmountFormat for anything but a positive two-decimal amount."""
    try:
        amount = parse_amount(text)
    except AmountError as error:
        raise InvalidAmountFormat(provided=text[:40], expectedFormat=EXPECTED_FORMAT) from error
    if amount == 0:
        raise InvalidAmountFormat(provided=text, expectedFormat=EXPECTED_FORMAT)
    return amount


def known_currency(text: str | None) -> str:
    """The currency to store; USD when none is named. Raises InvalidCurrency."""
    if text is None:
        return "USD"
    if text not in CURRENCIES:
        raise InvalidCurrency(provided=text[:20], supported=list(CURRENCIES))
    return text

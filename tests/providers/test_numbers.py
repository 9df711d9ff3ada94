"""Amounts as JSON numbers: written from whole cents, read without rounding."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offerhub.kernel.money import UNITS_MAX, UNITS_PER_CENT
from offerhub.providers.numbers import number, units_of


@given(st.integers(1, 10**12).map(lambda cents: cents * UNITS_PER_CENT))
def test_amounts_go_out_and_come_back_whole(units: int) -> None:
    text = msgspec.json.encode(number(units))
    assert units_of(json.loads(text, parse_float=Decimal)) == units


@pytest.mark.parametrize("units", [0, -100_000, 1, 99_999])
def test_only_whole_cents_go_out(units: int) -> None:
    with pytest.raises(AssertionError):
        number(units)


@pytest.mark.parametrize(
    ("value", "units"),
    [(5, 50_000_000), (Decimal("1E-7"), 1), (Decimal("1.50000000000"), 15_000_000), ("0.1", 1_000_000)],
)
def test_amounts_that_are_read(value: Any, units: int) -> None:
    assert units_of(value) == units


@pytest.mark.parametrize(
    "value",
    [True, None, 1.5, -1, Decimal("1E-8"), Decimal("NaN"), Decimal("1E+999999999"), "1e3", "", "\u0661", [1]],
)
def test_amounts_that_are_not(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - AmountError or ValueError, whichever sees it first
        units_of(value)


def test_no_amount_is_more_than_an_account_can_hold() -> None:
    assert units_of(Decimal(UNITS_MAX).scaleb(-7)) == UNITS_MAX
    with pytest.raises(ValueError, match="more than any account"):
        units_of(Decimal(UNITS_MAX + 1).scaleb(-7))

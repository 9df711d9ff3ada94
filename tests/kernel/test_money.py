"""Amounts in, amounts out: nothing is rounded up, nothing but the one form is accepted."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offerhub.kernel import clock, money


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.5",
        "1.500",
        "-1.00",
        "+1.00",
        "1e2",
        ".50",
        "1.",
        "1,00",
        " 1.00",
        "1.00\n",
        "١.٠٠",
        "1_0.00",
        "NaN",
        "0x1.00",
        "9" * 11 + ".00",
        "9" * 30 + ".00",
    ],
)
def test_refuses_everything_but_two_decimals(text: str) -> None:
    with pytest.raises(money.AmountError):
        money.parse_amount(text)


@given(st.integers(min_value=0, max_value=10**12 - 1))
def test_wire_amounts_come_back_as_they_went(cents: int) -> None:
    text = f"{cents // 100}.{cents % 100:02d}"
    units = money.parse_amount(text)
    assert money.format_amount(units) == text
    assert money.is_whole_cents(units)


@given(st.integers(min_value=0, max_value=10**17))
def test_chain_amounts_come_back_as_they_went(units: int) -> None:
    assert money.parse_chain_amount(money.format_chain_amount(units)) == units


@given(st.integers(min_value=0, max_value=10**17))
def test_the_wire_never_shows_more_than_there_is(units: int) -> None:
    shown = money.parse_chain_amount(money.format_amount(units))
    assert shown <= units < shown + money.UNITS_PER_CENT


def test_a_negative_difference_keeps_its_sign_but_not_on_zero() -> None:
    assert money.format_amount(-12_300_000) == "-1.23"
    assert money.format_amount(-1) == "0.00"


@pytest.mark.parametrize("module", [money, clock])
def test_the_documented_examples_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]

"""Amounts in, amounts out: nothing is rounded up, nothing but the one form is accepted."""

import doctest

import pytest

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


def test_a_negative_difference_keeps_its_sign_but_not_on_zero() -> None:
    assert money.format_amount(-12_300_000) == "-1.23"
    assert money.format_amount(-1) == "0.00"


@pytest.mark.parametrize("module", [money, clock])
def test_the_documented_examples_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]

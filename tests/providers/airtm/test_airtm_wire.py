"""Airtm's amounts and statuses: every cent goes out and comes back, and no status is taken for another."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offerhub.kernel.money import UNITS_PER_CENT, Units
from offerhub.providers.airtm.wire import amount_of, payin_body, payout_body, read_payin, read_payout
from offerhub.runtime.http import Response

ROW: dict[str, Any] = {"id": "x", "code": "c", "status": "CREATED", "amount": 1, "netAmount": 1, "airtmFee": 0}


def sent(cents: int) -> bytes:
    return payout_body(code="c", email="a@example.com", amount=Units(cents * UNITS_PER_CENT), notes="n")


def received(text: bytes) -> Any:
    return Response(200, {}, text).json()


@pytest.mark.parametrize(
    ("cents", "text"),
    [(2550, b"25.50"), (30, b"0.30"), (1, b"0.01"), (10 + 20, b"0.30"), (10**12, b"10000000000.00")],
)
def test_the_bytes_of_an_amount(cents: int, text: bytes) -> None:
    assert b'"amount":' + text + b"," in sent(cents)


@given(st.integers(1, 10**12))
def test_amounts_go_out_and_come_back_whole(cents: int) -> None:
    assert amount_of(received(sent(cents))["amount"]) == cents * UNITS_PER_CENT
    body = received(
        payin_body(
            code="c", amount=Units(cents * UNITS_PER_CENT), description="d", confirmation_uri="u", cancel_uri="v"
        )
    )
    assert body["amount"] == sum(item["amount"] * item["quantity"] for item in body["items"])


@given(st.integers(1, 10**8), st.integers(0, 10**8))
def test_the_noise_of_a_double_is_not_money(cents: int, fee: int) -> None:
    """What a service that computes in doubles would send for the difference of two amounts of cents."""
    noisy = json.dumps(max(cents, fee) / 100 - min(cents, fee) / 100).encode()
    assert amount_of(received(noisy)) == abs(cents - fee) * UNITS_PER_CENT


@pytest.mark.parametrize("units", [0, -100_000, 1, 99_999, 150_000])
def test_only_whole_cents_go_out(units: int) -> None:
    with pytest.raises(AssertionError):
        payout_body(code="c", email="a@example.com", amount=Units(units), notes="n")


@pytest.mark.parametrize(
    ("value", "units"),
    [
        (0, 0),
        (5, 50_000_000),
        (Decimal("0.005"), 50_000),
        (Decimal("1E-7"), 1),
        (Decimal("-0.0"), 0),
        (Decimal("-5.5E-17"), 0),
    ],
)
def test_amounts_that_are_read(value: Any, units: int) -> None:
    assert amount_of(value) == units


@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        "1.50",
        1.5,
        -1,
        Decimal("-0.01"),
        Decimal("1.00000001"),
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("1E+999999999"),
        999_999_999_999,
        [1],
    ],
)
def test_amounts_that_are_not(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - AmountError or ValueError, whichever sees it first
        amount_of(value)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("CREATED", "CREATED"),
        ("processing", "PROCESSING"),
        ("Confirmed", "CONFIRMED"),
        ("CANCELED", "CANCELED"),
        ("BRIDGE_CANCELED", "CANCELED"),
        ("FAILED", "FAILED"),
        ("BRIDGE_FAILED", "FAILED"),
        ("COMPLETED", "UNRECOGNISED"),
        ("SUCCEEDED", "UNRECOGNISED"),
    ],
)
def test_statuses_of_a_payin(said: str, meant: str) -> None:
    payin = read_payin(ROW | {"status": said}, "https://pay.example")
    assert (payin.status, payin.raw_status) == (meant, said)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("CREATED", "CREATED"),
        ("COMMITTED", "PROCESSING"),
        ("PENDING", "WAITING_FOR_USER"),
        ("completed", "COMPLETED"),
        ("CANCELED", "CANCELED"),
        ("FAILED", "FAILED"),
        ("ERROR", "IN_TROUBLE"),
        ("CANCEL_REQUESTED", "IN_TROUBLE"),
        ("PENDING_SIGNATURE", "PROCESSING"),
        ("SIGNED", "PROCESSING"),
        ("PENDING_USER_ACTION", "WAITING_FOR_USER"),
        ("PROCESSING", "PROCESSING"),
        ("BRIDGE_CREATED", "PROCESSING"),
        ("BRIDGE_COMPLETED", "PROCESSING"),
        ("BRIDGE_FAILED", "IN_TROUBLE"),
        ("BRIDGE_MAX_RETRIES_REACHED", "IN_TROUBLE"),
        ("BRIDGE_USER_SIGNUP_PENDING", "WAITING_FOR_USER"),
        ("COSMOEM_COMPLETED", "PROCESSING"),
        ("CONFIRMED", "UNRECOGNISED"),
    ],
)
def test_statuses_of_a_payout(said: str, meant: str) -> None:
    payout = read_payout(ROW | {"status": said})
    assert (payout.status, payout.raw_status) == (meant, said)


def test_a_description_is_cut_where_airtm_s_field_ends() -> None:
    body = received(
        payin_body(code="c", amount=Units(100_000), description="x" * 251, confirmation_uri="u", cancel_uri="v")
    )
    assert (len(body["description"]), len(body["items"][0]["description"])) == (250, 250)

"""Amounts that are none, on every route that takes one: the contract's code, and nothing changed in the books."""

import json
from typing import Any, Final

import pytest

from support.product import Marketplace, Person

BAD_TEXT: Final = (
    *("1.5", "-1.00", "+1.00", "1e2", "1.00e0", "0.00", "00.00", "9" * 30 + ".00", "99999999999.00", "1,00", "1.000"),
    *(
        " 1.00",
        "1.00 ",
        "1.00\n",
        "\t1.00",
        "1",
        "1.",
        ".50",
        "",
        " ",
        "١.٠٠",
        "１.００",
        "1_000.00",
        "0x1.00",
        "1..00",
    ),
    *("NaN", "Infinity", "null", "1.00USD", "$1.00", "1.0O", "1.00;", "१.००"),
)
BAD_TYPES: Final[tuple[Any, ...]] = (1, 1.0, 1.5, True, [], ["1.00"], {"amount": "1.00"})

BALANCE: Final = ("credit", "debit", "reserve", "cancel-reservation", "deduct-reserved", "release")
FIELDS: Final = (
    *(f"balance/{operation}" for operation in BALANCE),
    "order",
    "milestone",
    "order reserve",
    "withdrawal",
)


@pytest.fixture(scope="module")
async def places(shop: Marketplace) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Each field's path, the body around it, and the code of its refusal."""
    [buyer], [seller] = await shop.people("100"), await shop.people(None)
    await shop.done("POST", f"/users/{buyer.id}/balance/reserve", {"amount": "50.00", "orderId": "job"})
    order_id = await shop.order(buyer, seller, "1.00")
    parties = {"buyer_id": buyer.id, "seller_id": seller.id, "title": "t"}
    target, _ = await shop.world.outside_wallet()
    payout = {"userId": buyer.id, "destinationType": "crypto", "destinationRef": target}
    found = {
        f"balance/{operation}": (
            f"/users/{buyer.id}/balance/{operation}",
            {"orderId": "job"},
            "INVALID_AMOUNT_FORMAT",
        )
        for operation in BALANCE
    }
    for operation in ("credit", "debit"):
        found[f"balance/{operation}"] = (f"/users/{buyer.id}/balance/{operation}", {}, "INVALID_AMOUNT_FORMAT")
    found["balance/release"][1]["sellerId"] = seller.id
    found["order"] = ("/orders", parties, "INVALID_AMOUNT")
    found["milestone"] = ("/orders", {**parties, "amount": "1.00"}, "INVALID_AMOUNT")
    found["order reserve"] = (f"/orders/{order_id}/reserve", {}, "INVALID_AMOUNT")
    found["withdrawal"] = ("/withdrawals", payout, "INVALID_AMOUNT_FORMAT")
    return found


def _filled(field: str, body: dict[str, Any], amount: Any) -> dict[str, Any]:
    if field == "milestone":
        parts = [{"ref": "a", "title": "A", "amount": amount}, {"ref": "b", "title": "B"}]
        return {**body, "milestones": parts}
    return {**body, "amount": amount}


@pytest.mark.parametrize("field", FIELDS)
async def test_bad_amounts_are_refused(
    shop: Marketplace, places: dict[str, tuple[str, dict[str, Any], str]], field: str
) -> None:
    path, body, code = places[field]
    before = await shop.counts()
    for text in BAD_TEXT:
        details = await shop.refused("POST", path, _filled(field, body, text), status=400, code=code)
        if code == "INVALID_AMOUNT_FORMAT":
            assert details["provided"] == text[:40]
            assert details["expectedFormat"]
    for value in BAD_TYPES:
        filled = _filled(field, body, value)
        details = await shop.refused("POST", path, filled, status=400, code="VALIDATION_ERROR")
        assert details["fields"][0]["field"].endswith("amount")
    nan = json.dumps(_filled(field, body, float("nan"))).encode()
    assert b"NaN" in nan
    await shop.refused("POST", path, raw=nan, status=400, code="VALIDATION_ERROR")
    if field not in ("milestone", "order reserve"):  # where leaving it out has a meaning
        await shop.refused("POST", path, _filled(field, body, None), status=400, code="VALIDATION_ERROR")
        await shop.refused("POST", path, body, status=400, code="VALIDATION_ERROR")
    assert await shop.counts() == before
    await shop.live.assert_books_hold()


async def test_bad_parts_of_a_split(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    order_id, dispute_id = await shop.disputed(*pair, "2.00")
    before = await shop.counts()
    path = f"/disputes/{dispute_id}/resolve"
    for name, other in (("releaseAmount", "refundAmount"), ("refund_amount", "release_amount")):
        for text in BAD_TEXT:
            # Zero is a part; what else is wrong here is the sum.
            parts = {"decision": "SPLIT", name: text, other: "1.00"}
            await shop.refused("POST", path, parts, status=422, code="INVALID_AMOUNT")
        for value in BAD_TYPES:
            wrong = {"decision": "SPLIT", name: value, other: "1.00"}
            await shop.refused("POST", path, wrong, status=400, code="VALIDATION_ERROR")
    assert await shop.counts() == before
    assert await shop.units(order_id) == {"escrow": 20_000_000}


async def test_the_largest_amounts_neither_overflow_nor_round(shop: Marketplace) -> None:
    made = await shop.done("POST", "/users", {"externalUserId": "croesus"}, status=201)
    path = f"/users/{made['id']}/balance"
    largest = "9999999999.99"
    for count in range(1, 4):
        total = (await shop.done("POST", f"{path}/credit", {"amount": largest}))["total"]
        assert total == f"{999999999999 * count // 100}.{999999999999 * count % 100:02d}"
    assert (await shop.done("POST", f"{path}/debit", {"amount": "0.01"}))["available"] == "29999999999.96"

"""Bids: what the market says, within the cap; a replacement bids ten times as much."""

from typing import Any

import pytest

from offerhub.errors import StellarNetworkError
from offerhub.kernel.clock import ManualClock
from offerhub.kernel.money import Units
from offerhub.providers.stellar.fees import PRICE_SECONDS, Fees, first_bid, next_bid
from offerhub.providers.stellar.keys import new_keypair
from offerhub.providers.stellar.network import TESTNET_PASSPHRASE, XLM
from offerhub.providers.stellar.records import FeeStats
from offerhub.providers.stellar.transactions import build_payment, fee_needs


@pytest.mark.parametrize(
    ("price", "floor", "ceiling", "bid"),
    [
        (250, 100, 1_000, 250),
        (250, 400, 1_000, 400),  # the inner bid is higher
        (5_000, 100, 1_000, 1_000),
        (250, 1_001, 1_000, None),
    ],
)
def test_the_first_bid(price: int, floor: int, ceiling: int, bid: int | None) -> None:
    assert first_bid(price, floor, ceiling) == bid


@pytest.mark.parametrize(
    ("last", "price", "refused", "bid"),
    [
        (100, 100, False, None),  # the price is met: it only has to wait
        (100, 101, False, 1_000),
        (100, 5_000, False, 5_000),
        (100, 90, True, 1_000),
        (2_000, 9_000, False, None),  # ten times as much is beyond the ceiling, and less takes no place in a queue
        (2_000, 9_000, True, 10_000),
        (10_000, 90_000, True, None),
    ],
)
def test_the_next_bid(last: int, price: int, refused: bool, bid: int | None) -> None:
    assert next_bid(last, price, 10_000, refused=refused) == bid


class Market:
    """A Horizon that tells what it is told to."""

    def __init__(self) -> None:
        self.price: int | None = 100
        self.asked = 0

    async def fee_stats(self) -> FeeStats:
        self.asked += 1
        if self.price is None:
            raise StellarNetworkError("no answer")
        return FeeStats(1, 100, self.price)


async def test_the_price_is_read_now_and_then_and_survives_silence() -> None:
    market: Any = Market()
    clock = ManualClock()
    fees = Fees(market, clock, 10_000)
    assert await fees.price() == 100
    market.price = 700
    assert await fees.price() == 100
    assert market.asked == 1
    clock.advance(PRICE_SECONDS)
    assert await fees.price() == 700
    market.price = None
    clock.advance(PRICE_SECONDS)
    assert await fees.price() == 700, "better an old price than to stand still"
    market.price = 9_000
    assert await fees.bid(5) == 2_000, "never beyond the cap"


def test_what_a_bump_has_to_reckon_with() -> None:
    keys, other = new_keypair(), new_keypair()
    unsigned = build_payment(
        TESTNET_PASSPHRASE,
        source=keys.address,
        sequence=7,
        destination=other.address,
        amount=Units(1),
        asset=XLM,
        fee=250,
        max_time=1_800_000_000,
    )
    needs = fee_needs(unsigned.xdr)
    assert (needs.operations, needs.floor, needs.resource_fee) == (1, 250, 0)
    assert needs.ceiling(1_001) == 500

"""Who gets what a contract holds besides the order's amount: nothing is lost, and no part shrinks."""

import random

import pytest

from offerhub.errors import ProviderError
from offerhub.escrows.surplus import is_odd, odd_refusal, share_out, with_surplus
from offerhub.kernel.money import UNITS_PER_CENT, Units
from offerhub.providers.trustless_work.intents import ResolveIntent


def resolution(seller: int, buyer: int) -> ResolveIntent:
    parts = (("SELLER", Units(seller)), ("BUYER", Units(buyer)))
    return ResolveIntent("C", "R", tuple((address, amount) for address, amount in parts if amount))


def test_whatever_is_shared_out_is_the_balance_and_the_decision_stands() -> None:
    draw = random.Random(20)
    for _ in range(5_000):
        seller, buyer = (draw.choice((0, draw.randrange(10**9))) * UNITS_PER_CENT for _ in range(2))
        if not seller + buyer:
            continue
        surplus = draw.choice((0, 1, draw.randrange(UNITS_PER_CENT), draw.randrange(10**9)))
        shared = dict(share_out(resolution(seller, buyer), "BUYER", seller + buyer + surplus).distributions)
        assert sum(shared.values()) == seller + buyer + surplus
        assert all(amount > 0 for amount in shared.values())
        assert shared.get("SELLER", 0) in {seller, seller + surplus if surplus < UNITS_PER_CENT else seller}
        assert shared.get("BUYER", 0) >= buyer
        assert (shared.get("SELLER", 0), shared.get("BUYER", 0)) == with_surplus(seller, buyer, surplus)


def test_a_contract_that_holds_less_is_asked_for_what_was_decided() -> None:
    intent = resolution(600_000, 400_000)
    assert share_out(intent, "BUYER", 900_000) == intent


def test_only_an_odd_amount_for_two_may_be_more_than_a_contract_can_do() -> None:
    assert not is_odd(share_out(resolution(0, 400_000), "BUYER", 400_001))
    assert not is_odd(share_out(resolution(400_000, 0), "BUYER", 400_001))
    assert not is_odd(share_out(resolution(600_000, 400_000), "BUYER", 1_200_000))
    odd = share_out(resolution(600_000, 400_000), "BUYER", 1_000_001)
    assert is_odd(odd)
    refusal = odd_refusal(ProviderError("no", contract_error=10), odd)
    assert (refusal.details["topUp"], refusal.details["contract_error"]) == ("0.0099999", 10)


@pytest.mark.parametrize("address", ["TREASURY"])
def test_the_treasury_takes_the_surplus_along(address: str) -> None:
    intent = ResolveIntent("C", "R", ((address, Units(1_000_000)),))
    assert share_out(intent, address, 1_000_007).distributions == ((address, 1_000_007),)

"""Fee arithmetic, against the tables of providers.md 5.6."""

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offerhub.kernel.money import UNITS_PER_CENT
from offerhub.providers.trustless_work.fees import InexactSplitError, release_net, resolve_nets

CENTS = st.integers(1, 10**10).map(lambda cents: cents * UNITS_PER_CENT)
BPS = st.integers(0, 9_900)


@pytest.mark.parametrize(
    ("amount", "bps", "trustless_work", "platform", "net"),
    [
        (1_000_000_000, 500, 3_000_000, 50_000_000, 947_000_000),
        (255_000_000, 500, 765_000, 12_750_000, 241_485_000),
        (100_000, 500, 300, 5_000, 94_700),
        (1_000_000_000, 0, 3_000_000, 0, 997_000_000),
        (123_456_789, 250, 370_370, 3_086_419, 120_000_000),
    ],
)
def test_releases(amount: int, bps: int, trustless_work: int, platform: int, net: int) -> None:
    fees = release_net(amount, bps)
    assert (fees.trustless_work, fees.platform, fees.net) == (trustless_work, platform, net)


def test_even_and_uneven_splits() -> None:
    assert resolve_nets(10**9, 500, [500_000_000] * 2).nets == (473_500_000, 473_500_000)
    assert resolve_nets(10**9, 500, [600_000_000, 400_000_000]).nets == (568_200_000, 378_800_000)


@pytest.mark.parametrize(
    ("parts", "missing"),
    [([333_333_333, 333_333_333, 333_333_334], 2), ([333_333_333, 666_666_667], 1)],
)
def test_splits_that_the_contract_reverts(parts: list[int], missing: int) -> None:
    with pytest.raises(InexactSplitError, match=f"owed {missing} units"):
        resolve_nets(10**9, 500, parts)


@given(st.integers(1, 10**17), BPS)
def test_a_release_is_shared_out_to_the_unit(amount: int, bps: int) -> None:
    fees = release_net(amount, bps)
    assert fees.trustless_work + fees.platform + fees.net == amount
    assert min(fees.trustless_work, fees.platform, fees.net) >= 0


@given(st.lists(CENTS, min_size=1, max_size=50), BPS)
def test_whole_cents_are_shared_out_to_the_unit(parts: list[int], bps: int) -> None:
    total = sum(parts)
    resolution = resolve_nets(total, bps, parts)
    assert resolution.left == 0
    assert resolution.trustless_work + resolution.platform + sum(resolution.nets) == total
    for part, net in zip(parts, resolution.nets, strict=True):
        assert net == release_net(part, bps).net


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=5), BPS)
def test_a_split_to_the_unit_is_exact_or_refused(parts: list[int], bps: int) -> None:
    total = sum(parts)
    try:
        resolution = resolve_nets(total, bps, parts)
    except InexactSplitError:
        return
    paid = resolution.trustless_work + resolution.platform + sum(resolution.nets)
    assert paid + resolution.left == total


def test_parts_must_be_the_whole() -> None:
    with pytest.raises(AssertionError):
        resolve_nets(100, 0, [60, 30])
    with pytest.raises(AssertionError):
        resolve_nets(100, 0, [100, 0])


class Reverted(Exception):
    """The contract has less than it is about to pay."""


def paid_by_contract(total: int, bps: int, parts: list[int]) -> list[int]:
    """A resolution as the contract's source carries it out: one transfer after the other, from what is left."""
    left = total
    trustless_work, platform = total * 30 // 10_000, total * bps // 10_000
    paid = [trustless_work, platform, *(part - part * (trustless_work + platform) // total for part in parts)]
    for amount in paid:
        if amount > left:
            raise Reverted
        left -= amount
    return paid


SPLITS = st.lists(st.integers(1, 10**12), min_size=1, max_size=50)


@settings(max_examples=500)
@given(st.lists(CENTS, min_size=1, max_size=50), BPS)
def test_whole_cents_never_revert_and_are_exact_to_the_unit(parts: list[int], bps: int) -> None:
    total = sum(parts)
    resolution = resolve_nets(total, bps, parts)
    assert paid_by_contract(total, bps, parts) == [
        resolution.trustless_work,
        resolution.platform,
        *resolution.nets,
    ]
    keeps = Fraction(10_000 - 30 - bps, 10_000)
    assert [Fraction(net) for net in resolution.nets] == [part * keeps for part in parts], "nothing was rounded"


@settings(max_examples=500)
@given(SPLITS, BPS)
def test_any_split_is_refused_exactly_if_the_contract_would_revert(parts: list[int], bps: int) -> None:
    total = sum(parts)
    try:
        paid = paid_by_contract(total, bps, parts)
    except Reverted:
        with pytest.raises(InexactSplitError):
            resolve_nets(total, bps, parts)
        return
    resolution = resolve_nets(total, bps, parts)
    assert paid == [resolution.trustless_work, resolution.platform, *resolution.nets]
    assert 0 <= resolution.left < len(parts) + 2


@given(st.integers(1, 10**17), BPS, BPS)
def test_a_higher_rate_never_pays_the_receiver_more(amount: int, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert release_net(amount, low).net >= release_net(amount, high).net
    assert release_net(amount, low).trustless_work == release_net(amount, high).trustless_work


@given(CENTS, CENTS, BPS)
def test_two_releases_of_whole_cents_cost_what_one_of_their_sum_costs(one: int, other: int, bps: int) -> None:
    together, apart = release_net(one + other, bps), (release_net(one, bps), release_net(other, bps))
    assert together.net == apart[0].net + apart[1].net
    assert together.platform == apart[0].platform + apart[1].platform


PARTS = st.lists(CENTS, min_size=1, max_size=10)


@settings(max_examples=500)
@given(PARTS, BPS, st.randoms(use_true_random=False))
def test_milestones_pay_what_one_release_of_all_would(parts: list[int], bps: int, chance: random.Random) -> None:
    """In whole cents a milestone's fees are exact, released or shared out, so the parts add up to the whole."""
    bps = min(bps, 9_900)
    whole, each = release_net(sum(parts), bps), [release_net(part, bps) for part in parts]
    assert sum(one.net for one in each) == whole.net
    assert sum(one.platform for one in each) == whole.platform
    assert sum(one.trustless_work for one in each) == whole.trustless_work
    for part, released in zip(parts, each, strict=True):
        seller = chance.randrange(part // UNITS_PER_CENT + 1) * UNITS_PER_CENT
        shares = [share for share in (seller, part - seller) if share]
        shared = resolve_nets(part, bps, shares)
        assert (shared.trustless_work, shared.platform, shared.left) == (
            released.trustless_work,
            released.platform,
            0,
        )
        assert sum(shared.nets) == released.net

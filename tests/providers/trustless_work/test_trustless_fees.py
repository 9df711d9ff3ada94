"""Fee arithmetic, against the tables of providers.md 5.6."""

import pytest
from hypothesis import given
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

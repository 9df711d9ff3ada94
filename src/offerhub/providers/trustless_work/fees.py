"""What an escrow pays out: the contract's own integer arithmetic (providers.md 5.6).

Fees come out of the escrow. Trustless Work takes 30 basis points, the platform its own; both are floored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offerhub.kernel.money import Units

TRUSTLESS_WORK_BPS: Final = 30
_WHOLE_BPS: Final = 10_000


class InexactSplitError(ValueError):
    """The floored shares are owed more than remains, and the contract would refuse: use whole cents."""


@dataclass(frozen=True, slots=True)
class Fees:
    """A release: the two fees and what the receiver gets. They add up to the escrow's amount."""

    trustless_work: Units
    platform: Units
    net: Units


@dataclass(frozen=True, slots=True)
class Resolution:
    """A resolved dispute: the two fees, what each part receives in the order asked, and what stays behind.

    `left` is the dust that flooring leaves in the contract; it is 0 for whole cents.
    """

    trustless_work: Units
    platform: Units
    nets: tuple[Units, ...]
    left: Units


def release_net(amount: int, platform_fee_bps: int) -> Fees:
    """The fees of a release and what is left for the receiver."""
    assert amount > 0
    trustless_work = amount * TRUSTLESS_WORK_BPS // _WHOLE_BPS
    platform = amount * platform_fee_bps // _WHOLE_BPS
    net = amount - trustless_work - platform
    assert net >= 0
    return Fees(Units(trustless_work), Units(platform), Units(net))


def resolve_nets(total: int, platform_fee_bps: int, parts: Sequence[int]) -> Resolution:
    """The fees of a resolution and what each part receives.

    Every part is positive and together they are the contract's whole balance. Raises InexactSplitError when the
    contract could not pay the last part.
    """
    assert sum(parts) == total
    assert all(part > 0 for part in parts)
    fees = release_net(total, platform_fee_bps)
    charged = fees.trustless_work + fees.platform
    nets = tuple(Units(part - part * charged // total) for part in parts)
    left = total - charged - sum(nets)
    if left < 0:
        raise InexactSplitError(f"the parts are owed {-left} units more than the escrow holds")
    return Resolution(fees.trustless_work, fees.platform, nets, Units(left))

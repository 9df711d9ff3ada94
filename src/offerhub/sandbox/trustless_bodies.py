"""The bodies of the Trustless Work v1 routes: strict, as its framework is (providers.md 4.3).

Unknown fields, a milestone index that is not text, and amounts that are not JSON numbers are refused. Amounts
are human units (100.5 = 100.5 USDC), the platform fee is a percentage with at most two decimals.
"""

import json
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

import msgspec
from stellar_sdk import StrKey

from offerhub.kernel.money import UNITS_MAX, UNITS_PER_ONE

MILESTONES_MAX: Final = 50
TITLE_MAX: Final = 100
DESCRIPTION_MAX: Final = 500
PLATFORM_FEE_MAX: Final = 99

Number = int | Decimal
Index = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,3}\Z")]


class BadBody(ValueError):
    """The body is not what the route takes; the text says why."""


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class RolesBody(_Body, frozen=True):
    """Six addresses."""

    approver: str
    service_provider: str
    platform_address: str
    release_signer: str
    dispute_resolver: str
    receiver: str


class MultiRolesBody(_Body, frozen=True):
    """Five addresses: whom a milestone pays is the milestone's."""

    approver: str
    service_provider: str
    platform_address: str
    release_signer: str
    dispute_resolver: str


class MilestoneBody(_Body, frozen=True):
    """A milestone to be."""

    description: str


class PartBody(_Body, frozen=True):
    """A milestone to be that pays by itself."""

    description: str
    amount: Number
    receiver: str


class TrustlineBody(_Body, frozen=True):
    """The escrow's asset: `address` is the classic issuer."""

    address: str
    symbol: str


class DeployBody(_Body, frozen=True):
    """`POST /deployer/single-release`."""

    signer: str
    engagement_id: Annotated[str, msgspec.Meta(min_length=1)]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=TITLE_MAX)]
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=DESCRIPTION_MAX)]
    roles: RolesBody
    amount: Number
    platform_fee: Number
    milestones: Annotated[list[MilestoneBody], msgspec.Meta(min_length=1, max_length=MILESTONES_MAX)]
    trustline: TrustlineBody


class MultiDeployBody(_Body, frozen=True):
    """`POST /deployer/multi-release`."""

    signer: str
    engagement_id: Annotated[str, msgspec.Meta(min_length=1)]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=TITLE_MAX)]
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=DESCRIPTION_MAX)]
    roles: MultiRolesBody
    platform_fee: Number
    milestones: Annotated[list[PartBody], msgspec.Meta(min_length=1, max_length=MILESTONES_MAX)]
    trustline: TrustlineBody


class FundBody(_Body, frozen=True):
    """`POST /escrow/{type}/fund-escrow`."""

    contract_id: str
    signer: str
    amount: Number


class StatusBody(_Body, frozen=True):
    """`POST /escrow/{type}/change-milestone-status`."""

    contract_id: str
    milestone_index: Index
    new_status: Annotated[str, msgspec.Meta(min_length=1)]
    service_provider: str
    new_evidence: str | None = None


class ApproveBody(_Body, frozen=True):
    """`POST /escrow/{type}/approve-milestone`."""

    contract_id: str
    milestone_index: Index
    approver: str


class ReleaseBody(_Body, frozen=True):
    """`POST /escrow/single-release/release-funds`."""

    contract_id: str
    release_signer: str


class DisputeBody(_Body, frozen=True):
    """`POST /escrow/single-release/dispute-escrow`."""

    contract_id: str
    signer: str


class DistributionBody(_Body, frozen=True):
    """One part of a resolution."""

    address: str
    amount: Number


class ResolveBody(_Body, frozen=True):
    """`POST /escrow/single-release/resolve-dispute`."""

    contract_id: str
    dispute_resolver: str
    distributions: Annotated[list[DistributionBody], msgspec.Meta(min_length=1, max_length=50)]


class ReleaseMilestoneBody(_Body, frozen=True):
    """`POST /escrow/multi-release/release-milestone-funds`."""

    contract_id: str
    release_signer: str
    milestone_index: Index


class DisputeMilestoneBody(_Body, frozen=True):
    """`POST /escrow/multi-release/dispute-milestone`."""

    contract_id: str
    signer: str
    milestone_index: Index


class ResolveMilestoneBody(_Body, frozen=True):
    """`POST /escrow/multi-release/resolve-milestone-dispute`."""

    contract_id: str
    dispute_resolver: str
    milestone_index: Index
    distributions: Annotated[list[DistributionBody], msgspec.Meta(min_length=1, max_length=50)]


class WithdrawBody(_Body, frozen=True):
    """`POST /escrow/multi-release/withdraw-remaining-funds`."""

    contract_id: str
    dispute_resolver: str
    distributions: Annotated[list[DistributionBody], msgspec.Meta(min_length=1, max_length=50)]


class SendBody(_Body, frozen=True):
    """`POST /helper/send-transaction`."""

    signed_xdr: str


class UpdateBody(_Body, frozen=True):
    """`POST /indexer/update-from-txHash`."""

    tx_hash: str


B = TypeVar("B", bound=_Body)


def read_body(content: bytes, kind: type[B]) -> B:
    """The body as its type. Raises BadBody."""
    try:
        parsed: Any = json.loads(content, parse_float=Decimal, parse_constant=_no_constant)
        return msgspec.convert(parsed, kind, builtin_types=(Decimal,))
    except (ValueError, RecursionError) as error:
        raise BadBody(str(error)[:300]) from error


def units_of(amount: Number, field: str) -> int:
    """Human units to units of 10^-7. Raises BadBody unless positive with at most seven decimals."""
    units = Decimal(amount) * UNITS_PER_ONE
    if not 0 < units <= UNITS_MAX or units != units.to_integral_value():
        raise BadBody(f"{field} must be a positive number with at most 7 decimals")
    return int(units)


def basis_points_of(percent: Number) -> int:
    """A percentage to basis points. Raises BadBody unless 0 to 99 with at most two decimals."""
    points = Decimal(percent) * 100
    if not 0 <= points <= PLATFORM_FEE_MAX * 100 or points != points.to_integral_value():
        raise BadBody(f"platformFee must be 0 to {PLATFORM_FEE_MAX} with at most 2 decimals")
    return int(points)


def check_address(address: str, field: str, *, contract: bool = False) -> str:
    """The address itself. Raises BadBody unless it is G… (or C… where a contract is meant)."""
    valid = StrKey.is_valid_contract if contract else StrKey.is_valid_ed25519_public_key
    if not valid(address):
        raise BadBody(f"{field} must be a valid Stellar {'contract id' if contract else 'address'}")
    return address


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")

"""What we ask Trustless Work for, as plain values that a saga can store and that `verify` holds it to.

Each intent names the account that signs as `signer`, whatever the role is called on the wire. Amounts are units
and whole cents: only then is the contract's fee arithmetic exact (providers.md 5.6).
"""

from typing import Any, ClassVar, Final, Literal, Self

import msgspec

from offerhub.kernel.money import Units, is_whole_cents

EscrowType = Literal["single-release", "multi-release"]
"""Whether a contract pays once, when every milestone is approved, or each milestone by itself."""

MILESTONES_MAX: Final = 10
"""The strictest of the contract lines; others allow 50 (providers.md 5.3)."""
TITLE_CHARACTERS_MAX: Final = 100
DESCRIPTION_CHARACTERS_MAX: Final = 500
DISTRIBUTIONS_MAX: Final = 50
PLATFORM_FEE_BPS_MAX: Final = 9_900


class Deployer(msgspec.Struct, frozen=True):
    """The contract that makes our escrows, and the code (hex) it deploys; None where the contract alone knows it."""

    contract: str
    code: str | None = None


class Roles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may do what in an escrow; every one is an address (providers.md 5.2)."""

    approver: str
    service_provider: str
    platform_address: str
    release_signer: str
    dispute_resolver: str
    receiver: str


class EscrowTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An escrow's properties. `issuer` is the account that issues its USDC; the fee is in basis points.

    With `milestone_amounts`, what each milestone pays, the contract is a multi-release one: they add up to `amount`,
    which that contract itself does not know, and `roles.receiver` is paid by every milestone.
    """

    engagement_id: str
    title: str
    description: str
    roles: Roles
    amount: Units
    platform_fee_bps: int
    milestones: tuple[str, ...]
    issuer: str
    asset_code: str = "USDC"
    milestone_amounts: tuple[Units, ...] = ()

    @property
    def escrow_type(self) -> EscrowType:
        """Which of the two contracts this is."""
        return "multi-release" if self.milestone_amounts else "single-release"

    def __post_init__(self) -> None:
        _check_amount(self.amount)
        for amount in self.milestone_amounts:
            _check_amount(amount)
        if self.milestone_amounts:
            if len(self.milestone_amounts) != len(self.milestones):
                raise ValueError("each milestone of a multi-release escrow has an amount")
            if sum(self.milestone_amounts) != self.amount:
                raise ValueError("the milestones' amounts add up to the escrow's")
        if not 1 <= len(self.milestones) <= MILESTONES_MAX:
            raise ValueError(f"an escrow has 1 to {MILESTONES_MAX} milestones")
        if not 1 <= len(self.title) <= TITLE_CHARACTERS_MAX:
            raise ValueError(f"an escrow's title has 1 to {TITLE_CHARACTERS_MAX} characters")
        if not 1 <= len(self.description) <= DESCRIPTION_CHARACTERS_MAX:
            raise ValueError(f"an escrow's description has 1 to {DESCRIPTION_CHARACTERS_MAX} characters")
        if not 0 <= self.platform_fee_bps <= PLATFORM_FEE_BPS_MAX:
            raise ValueError(f"the platform fee is 0 to {PLATFORM_FEE_BPS_MAX} basis points")


class _Intent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Common to all: they go to JSON and come back."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the kind of the intent under `kind`."""
        value: dict[str, Any] = msgspec.to_builtins(self)
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Raises msgspec.ValidationError for anything that this kind of intent did not write."""
        return msgspec.convert(value, cls)


class DeployIntent(_Intent, frozen=True, tag="deploy"):
    """Create the escrow's contract. The signer pays for it and gains no role."""

    signer: str
    terms: EscrowTerms

    @property
    def escrow_type(self) -> EscrowType:
        """Which contract is deployed."""
        return self.terms.escrow_type


class FundIntent(_Intent, frozen=True, tag="fund"):
    """Move the signer's USDC into the contract. Nothing on the chain stops a second funding: guard it."""

    contract_id: str
    signer: str
    amount: Units
    terms: EscrowTerms

    def __post_init__(self) -> None:
        _check_amount(self.amount)

    @property
    def escrow_type(self) -> EscrowType:
        """Which contract is funded."""
        return self.terms.escrow_type


class StatusIntent(_Intent, frozen=True, tag="status"):
    """The service provider sets a milestone's status, with evidence (text, may be empty)."""

    contract_id: str
    signer: str
    milestone_index: int
    new_status: str
    evidence: str = ""
    escrow_type: EscrowType = "single-release"


class ApproveIntent(_Intent, frozen=True, tag="approve"):
    """The approver approves a milestone."""

    contract_id: str
    signer: str
    milestone_index: int
    escrow_type: EscrowType = "single-release"


class ReleaseIntent(_Intent, frozen=True, tag="release"):
    """The release signer pays the receiver; every milestone must be approved."""

    escrow_type: ClassVar[EscrowType] = "single-release"

    contract_id: str
    signer: str


class DisputeIntent(_Intent, frozen=True, tag="dispute"):
    """Any role but the dispute resolver opens a dispute."""

    escrow_type: ClassVar[EscrowType] = "single-release"

    contract_id: str
    signer: str


class ResolveIntent(_Intent, frozen=True, tag="resolve"):
    """The dispute resolver shares out the whole balance. Amounts are before fees and add up to the balance.

    One of them may have a fraction of a cent: what strangers had sent into the contract has to go somewhere.
    """

    escrow_type: ClassVar[EscrowType] = "single-release"

    contract_id: str
    signer: str
    distributions: tuple[tuple[str, Units], ...]

    def __post_init__(self) -> None:
        _check_distributions(self.distributions)


class ReleaseMilestoneIntent(_Intent, frozen=True, tag="release_milestone"):
    """The release signer pays a milestone's receiver; the milestone must be approved."""

    escrow_type: ClassVar[EscrowType] = "multi-release"

    contract_id: str
    signer: str
    milestone_index: int


class DisputeMilestoneIntent(_Intent, frozen=True, tag="dispute_milestone"):
    """Any role but the dispute resolver opens a dispute about a milestone."""

    escrow_type: ClassVar[EscrowType] = "multi-release"

    contract_id: str
    signer: str
    milestone_index: int


class ResolveMilestoneIntent(_Intent, frozen=True, tag="resolve_milestone"):
    """The dispute resolver shares out a milestone. Amounts are before fees; less than the milestone's leaves some."""

    escrow_type: ClassVar[EscrowType] = "multi-release"

    contract_id: str
    signer: str
    milestone_index: int
    distributions: tuple[tuple[str, Units], ...]

    def __post_init__(self) -> None:
        _check_distributions(self.distributions)
        for _, amount in self.distributions:
            _check_amount(amount)


class WithdrawIntent(_Intent, frozen=True, tag="withdraw"):
    """The dispute resolver shares out what is left once every milestone has ended or is in dispute."""

    escrow_type: ClassVar[EscrowType] = "multi-release"

    contract_id: str
    signer: str
    distributions: tuple[tuple[str, Units], ...]

    def __post_init__(self) -> None:
        _check_distributions(self.distributions)


CallIntent = (
    FundIntent
    | StatusIntent
    | ApproveIntent
    | ReleaseIntent
    | DisputeIntent
    | ResolveIntent
    | ReleaseMilestoneIntent
    | DisputeMilestoneIntent
    | ResolveMilestoneIntent
    | WithdrawIntent
)
"""An intent about a contract that exists."""

Intent = DeployIntent | CallIntent


def read_intent(value: dict[str, Any]) -> Intent:
    """Any intent, by its `kind`. Raises msgspec.ValidationError."""
    intent: Intent = msgspec.convert(value, Intent)
    return intent


def _check_distributions(distributions: tuple[tuple[str, Units], ...]) -> None:
    if not 1 <= len(distributions) <= DISTRIBUTIONS_MAX:
        raise ValueError(f"a resolution has 1 to {DISTRIBUTIONS_MAX} parts")
    if len({address for address, _ in distributions}) != len(distributions):
        raise ValueError("a resolution names each address once")
    if any(amount <= 0 for _, amount in distributions):
        raise ValueError("each part of a resolution is positive")
    if sum(not is_whole_cents(amount) for _, amount in distributions) > 1:
        raise ValueError("only one part of a resolution has a fraction of a cent")


def _check_amount(amount: int) -> None:
    if amount <= 0 or not is_whole_cents(amount):
        raise ValueError("an escrow amount is a positive number of whole cents")

"""What an escrow is, inside and on the wire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, cast

from msgspec import Meta

from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import Units, format_amount
from offerhub.providers.trustless_work.intents import EscrowTerms, EscrowType, Roles
from offerhub.runtime.routes import Shape
from offerhub.runtime.vocabulary import Amount, ContractId, Currency, EscrowId, OrderId, Timestamp, TransactionHash

EscrowStatus = Literal[
    "CREATING", "CREATED", "FUNDING", "FUNDED", "RELEASING", "RELEASED", "REFUNDING", "REFUNDED", "DISPUTED"
]
PayoutStatus = Literal["UNPAID", "PAYING", "RELEASED", "REFUNDED", "SPLIT"]


class EscrowTermsAnswer(Shape):
    """What an escrow asks for before it pays out."""

    milestones_required: bool


class MilestonePayoutAnswer(Shape):
    """What has become of the money of one milestone of a multi-release escrow."""

    status: PayoutStatus
    sellerAmount: Annotated[Amount, Meta(description="What the seller has been paid, after fees.")]
    buyerAmount: Annotated[Amount, Meta(description="What the buyer has been paid back, after fees.")]
    platformFee: Amount
    protocolFee: Annotated[Amount, Meta(description="Trustless Work's fee.")]
    txHash: TransactionHash | None
    paidAt: Timestamp | None


class EscrowAnswer(Shape):
    """An order's escrow: a contract on Stellar that holds the money."""

    id: EscrowId
    orderId: OrderId
    trustlessContractId: ContractId | None
    contractId: ContractId | None
    status: EscrowStatus
    amount: Amount
    currency: Currency
    terms: EscrowTermsAnswer
    platformFeeBasisPoints: Annotated[int, Meta(description="The platform's share, in 1/100 of a percent.")]
    txHash: TransactionHash | None
    fundedAt: Timestamp | None
    releasedAt: Timestamp | None
    refundedAt: Timestamp | None
    createdAt: Timestamp
    updatedAt: Timestamp


@dataclass(frozen=True, slots=True)
class Escrow:
    """An order's escrow as stored. Counts say how far a single-release contract itself has got.

    `treasury` is the account that pays the contract in and is paid by it, where buyer and seller are paid elsewhere.
    """

    id: str
    marketplace_id: str
    order_id: str
    contract_id: str | None
    status: str
    amount: Units
    platform_fee_bps: int
    terms: dict[str, Any]
    roles: dict[str, str]
    treasury: str | None
    marked_on_chain: int
    approved_on_chain: int
    disputed_on_chain: bool
    tx_hash: str | None
    funded_at: datetime | None
    released_at: datetime | None
    refunded_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def contract(self) -> str:
        """The contract's address; only an escrow that is still CREATING has none."""
        assert self.contract_id is not None
        return self.contract_id

    @property
    def escrow_type(self) -> EscrowType:
        """Whether the contract pays once, or each milestone by itself."""
        return "multi-release" if self.terms.get("milestone_amounts") else "single-release"

    @property
    def depositor(self) -> str:
        """The account that pays the contract in, and gets back what is refunded."""
        return self.treasury or self.roles["approver"]

    def contract_terms(self) -> EscrowTerms:
        """The properties that the contract was deployed with."""
        return EscrowTerms(
            engagement_id=self.order_id,
            title=self.terms["title"],
            description=self.terms["description"],
            roles=Roles(**self.roles),
            amount=self.amount,
            platform_fee_bps=self.platform_fee_bps,
            milestones=tuple(self.terms["milestones"]),
            issuer=self.terms["issuer"],
            asset_code=self.terms["asset_code"],
            milestone_amounts=tuple(self.terms.get("milestone_amounts", ())),
        )

    def wire(self, currency: str) -> EscrowAnswer:
        """The escrow object of contract 2.7."""
        return EscrowAnswer(
            id=self.id,
            orderId=self.order_id,
            trustlessContractId=self.contract_id,
            contractId=self.contract_id,
            status=cast("EscrowStatus", self.status),
            amount=format_amount(self.amount),
            currency=currency,
            terms=EscrowTermsAnswer(milestones_required=bool(self.terms["has_milestones"])),
            platformFeeBasisPoints=self.platform_fee_bps,
            txHash=self.tx_hash,
            fundedAt=_optional(self.funded_at),
            releasedAt=_optional(self.released_at),
            refundedAt=_optional(self.refunded_at),
            createdAt=to_wire(self.created_at),
            updatedAt=to_wire(self.updated_at),
        )


@dataclass(frozen=True, slots=True)
class EscrowMilestone:
    """A milestone of a multi-release contract: what it holds, what the contract knows of it, how it was paid out.

    Amounts are units; shares are before fees, nets after them, and all are 0 until the milestone has been paid.
    """

    escrow_id: str
    position: int
    milestone_id: str
    amount: Units
    status: str
    marked_on_chain: bool
    approved_on_chain: bool
    disputed_on_chain: bool
    seller_share: int
    buyer_share: int
    seller_net: int
    buyer_net: int
    platform_fee: int
    protocol_fee: int
    tx_hash: str | None
    paid_at: datetime | None

    def wire(self) -> MilestonePayoutAnswer:
        """The milestone's payout, as its milestone shows it."""
        return MilestonePayoutAnswer(
            status=cast("PayoutStatus", self.status),
            sellerAmount=format_amount(self.seller_net),
            buyerAmount=format_amount(self.buyer_net),
            platformFee=format_amount(self.platform_fee),
            protocolFee=format_amount(self.protocol_fee),
            txHash=self.tx_hash,
            paidAt=_optional(self.paid_at),
        )


@dataclass(frozen=True, slots=True)
class MilestonePaid:
    """How the chain has paid a milestone out, in units: shares before fees, nets and fees as transferred."""

    seller_share: int
    buyer_share: int
    seller_net: int
    buyer_net: int
    platform_fee: int
    protocol_fee: int
    tx_hash: str

    @property
    def status(self) -> str:
        """How the milestone has ended."""
        if self.buyer_share == 0:
            return "RELEASED"
        return "REFUNDED" if self.seller_share == 0 else "SPLIT"


def _optional(moment: datetime | None) -> str | None:
    return None if moment is None else to_wire(moment)

"""What the events of escrows and of their milestones tell (contract 6.2)."""

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from offerhub.events.payloads.base import ForPeople, Kind, MilestoneRef, MilestoneTitle, Payload, RequestedBy
from offerhub.runtime.vocabulary import (
    Amount,
    ContractId,
    Currency,
    EscrowId,
    OrderId,
    Sum,
    Timestamp,
    TransactionHash,
    UserId,
)


class EscrowCreated(Payload):
    """A contract that was deployed."""

    orderId: OrderId
    escrowId: EscrowId
    trustlessContractId: ContractId
    amount: Amount
    currency: Currency


class EscrowFunding(Payload):
    """A contract that is being funded."""

    orderId: OrderId
    escrowId: EscrowId
    trustlessContractId: ContractId
    amount: Amount


class EscrowFunded(EscrowFunding):
    """A contract that holds its money."""

    fundedAt: Timestamp


class _Ended(Payload):
    escrowId: EscrowId
    orderId: OrderId
    transactionHash: Annotated[TransactionHash, Meta(description="The last transaction that paid out.")]
    amount: Annotated[Amount, Meta(description="The order's amount.", examples=["80.00"])]


class EscrowReleased(_Ended):
    """A contract that has paid the seller."""

    sellerId: UserId
    releasedAt: Timestamp


class EscrowRefunded(_Ended):
    """A contract that has paid the buyer back."""

    buyerId: UserId
    refundedAt: Timestamp


class MilestoneCompleted(Payload):
    """A part of the work that is done."""

    escrowId: EscrowId
    orderId: OrderId
    milestoneRef: MilestoneRef
    milestoneTitle: MilestoneTitle
    amount: Annotated[Amount, Meta(description="The milestone's amount.")]
    completedAt: Timestamp


class MilestoneRequested(Payload):
    """Who wants a milestone's end."""

    escrowId: EscrowId
    orderId: OrderId
    milestoneRef: MilestoneRef
    milestoneTitle: MilestoneTitle
    requestedBy: RequestedBy
    requestedAt: Timestamp
    reason: ForPeople | UnsetType = UNSET


class _MilestonePaid(Payload):
    escrowId: EscrowId
    orderId: OrderId
    milestoneRef: MilestoneRef
    milestoneTitle: MilestoneTitle
    amount: Annotated[Amount, Meta(description="This one's part of the milestone, before fees.")]
    netAmount: Annotated[Amount, Meta(description="What was credited, after fees.", examples=["24.92"])]
    fees: Annotated[Amount, Meta(description="What this one has borne of the contract's fees.", examples=["0.08"])]
    currency: Currency
    transactionHash: Annotated[TransactionHash, Meta(description="The transaction that paid.")]
    paidAt: Timestamp


class MilestoneReleased(_MilestonePaid):
    """What the seller got of a milestone."""

    sellerId: UserId
    newSellerBalance: Annotated[Sum, Meta(description="The seller's `available` after it.")]


class MilestoneRefunded(_MilestonePaid):
    """What the buyer got of a milestone."""

    buyerId: UserId
    newBuyerBalance: Annotated[Sum, Meta(description="The buyer's `available` after it.")]


_PAID: Final = "A `balance.credited` stands before it. One that a decision shares out has both events."

KINDS: Final = (
    Kind("escrow.created", "Escrow", EscrowCreated, "The contract is deployed, and empty.", "the buyer"),
    Kind("escrow.funding_started", "Escrow", EscrowFunding, "The contract is being funded.", "the buyer"),
    Kind("escrow.funded", "Escrow", EscrowFunded, "The contract holds the order's money.", "the buyer"),
    Kind("escrow.released", "Escrow", EscrowReleased, "The contract is empty; the order was released.", "the seller"),
    Kind("escrow.refunded", "Escrow", EscrowRefunded, "The contract is empty; the order was refunded.", "the seller"),
    Kind("escrow.milestone_completed", "Order", MilestoneCompleted, "A milestone is marked as done.", "the seller"),
    Kind(
        "escrow.milestone_release_requested",
        "Order",
        MilestoneRequested,
        "The release of one milestone, of an order that pays them one by one, is begun.",
        "the buyer",
    ),
    Kind(
        "escrow.milestone_refund_requested",
        "Order",
        MilestoneRequested,
        "The refund of one milestone, of an order that pays them one by one, is begun.",
        "the buyer",
    ),
    Kind(
        "escrow.milestone_released",
        "Order",
        MilestoneReleased,
        f"The contract has paid the seller for one milestone. {_PAID}",
        "the seller",
    ),
    Kind(
        "escrow.milestone_refunded",
        "Order",
        MilestoneRefunded,
        f"The contract has paid one milestone back to the buyer. {_PAID}",
        "the buyer",
    ),
)

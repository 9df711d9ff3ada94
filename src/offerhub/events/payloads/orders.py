"""What the events of orders tell (contract 6.2)."""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from offerhub.events.payloads.base import Credential, ForPeople, Kind, Payload, RequestedBy
from offerhub.events.payloads.disputes import DisputeOpened
from offerhub.events.payloads.escrows import EscrowFunded, EscrowFunding
from offerhub.runtime.vocabulary import Amount, Currency, EscrowId, OrderId, Sum, Timestamp, UserId

_Borne = Annotated[Amount, Meta(description="Its part of the fees, taken from what was paid out.", examples=["0.30"])]
_Net = Annotated[Amount, Meta(description="What was credited, after fees.", examples=["79.76"])]
_AFTER: Final = "`available` after it; null when this one got nothing."


class OrderCreated(Payload):
    """A new order."""

    orderId: OrderId
    buyerId: UserId
    sellerId: UserId
    amount: Amount
    currency: Currency
    title: Annotated[str, Meta(description="What is bought.", examples=["A logo"])]
    description: Annotated[str, Meta(description="More of it.", examples=["Three drafts"])] | UnsetType = UNSET
    clientOrderRef: Annotated[str, Meta(description="Your own reference.", examples=["job-4711"])] | UnsetType = UNSET
    escrowType: (
        Annotated[
            Literal["multi-release"],
            Meta(description="There when its milestones pay one by one.", examples=["multi-release"]),
        ]
        | UnsetType
    ) = UNSET


class OrderFundsReserved(Payload):
    """What the buyer has after the reservation."""

    orderId: OrderId
    buyerId: UserId
    amount: Amount
    currency: Currency
    reservedBalance: Annotated[Sum, Meta(description="The buyer's `reserved` for orders after it.")]
    availableBalance: Annotated[Sum, Meta(description="The buyer's `available` after it.")]


class OrderEscrowCreating(Payload):
    """The escrow of an order."""

    orderId: OrderId
    escrowId: EscrowId
    amount: Amount


class OrderInProgress(Payload):
    """The escrow of an order."""

    orderId: OrderId
    escrowId: EscrowId


class OrderRequested(Payload):
    """Who wants an order's end."""

    orderId: OrderId
    requestedBy: RequestedBy
    requestedAt: Timestamp
    reason: ForPeople | UnsetType = UNSET


class _Ended(Payload):
    orderId: OrderId
    amount: Annotated[Amount, Meta(description="The order's amount.", examples=["80.00"])]
    currency: Currency
    platformFee: Annotated[_Borne, Meta(description="What the contract paid the platform.", examples=["0.00"])]
    protocolFee: Annotated[_Borne, Meta(description="What the contract paid Trustless Work.", examples=["0.24"])]
    netAmount: _Net


class OrderReleased(_Ended):
    """What the seller got."""

    sellerId: UserId
    releasedAt: Timestamp
    newSellerBalance: Annotated[Sum | None, Meta(description=f"The seller's {_AFTER}")]


class OrderRefunded(_Ended):
    """What the buyer got back."""

    buyerId: UserId
    refundedAt: Timestamp
    newBuyerBalance: Annotated[Sum | None, Meta(description=f"The buyer's {_AFTER}")]


class OrderClosed(Payload):
    """How an order ended."""

    orderId: OrderId
    finalStatus: Annotated[
        Literal["RELEASED", "REFUNDED"],
        Meta(description="How it ended; a decision that shares the money out is `RELEASED`.", examples=["RELEASED"]),
    ]
    closedAt: Timestamp


class OrderCanceled(Payload):
    """An order that ended before its escrow was funded."""

    orderId: OrderId
    buyerId: UserId
    canceledBy: Credential
    canceledAt: Timestamp
    fundsReleased: Annotated[
        bool, Meta(description="True when money was reserved, and is available again.", examples=[True])
    ]
    reason: ForPeople | UnsetType = UNSET


KINDS: Final = (
    Kind("order.created", "Order", OrderCreated, "An order is made. No money has moved.", "the buyer"),
    Kind(
        "order.funds_reserved",
        "Order",
        OrderFundsReserved,
        "The buyer's money is set aside; a `balance.reserved` stands before it.",
        "the buyer",
    ),
    Kind("order.escrow_creating", "Order", OrderEscrowCreating, "The order's contract is deployed.", "the buyer"),
    Kind("order.escrow_funding", "Order", EscrowFunding, "The contract is being funded.", "the buyer"),
    Kind("order.escrow_funded", "Order", EscrowFunded, "The contract holds the order's money.", "the buyer"),
    Kind("order.in_progress", "Order", OrderInProgress, "The work can begin: right after the funding.", "the buyer"),
    Kind("order.release_requested", "Order", OrderRequested, "The release to the seller is begun.", "the buyer"),
    Kind("order.refund_requested", "Order", OrderRequested, "The refund to the buyer is begun.", "the buyer"),
    Kind(
        "order.released",
        "Order",
        OrderReleased,
        "The contract has paid the seller, or seller and buyer after a decision that shares the money out.",
        "the seller",
    ),
    Kind("order.refunded", "Order", OrderRefunded, "The contract has paid the buyer back.", "the buyer"),
    Kind("order.disputed", "Order", DisputeOpened, "A dispute freezes the order.", "who opened it"),
    Kind(
        "order.closed",
        "Order",
        OrderClosed,
        "The order is over, its money paid out. One that is canceled has `order.canceled` instead.",
        "the buyer",
    ),
    Kind("order.canceled", "Order", OrderCanceled, "The order ends before its escrow is funded.", "the buyer"),
)

"""What the events of disputes tell (contract 6.2)."""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from offerhub.events.payloads.base import Credential, Kind, Payload
from offerhub.runtime.vocabulary import Amount, DisputeId, OrderId, Timestamp


class _Dispute(Payload):
    disputeId: DisputeId
    orderId: OrderId


class DisputeOpened(_Dispute):
    """A new dispute."""

    openedBy: Annotated[Literal["BUYER", "SELLER"], Meta(description="By which side.", examples=["BUYER"])]
    reason: Annotated[
        Literal["NOT_DELIVERED", "QUALITY_ISSUE", "OTHER"],
        Meta(description="What it is about.", examples=["QUALITY_ISSUE"]),
    ]
    openedAt: Timestamp
    evidence: (
        Annotated[
            list[str],
            Meta(description="What was brought forward: texts, addresses.", examples=[["https://example.com/1.png"]]),
        ]
        | UnsetType
    ) = UNSET


class DisputeUnderReview(_Dispute):
    """Who looks at a dispute."""

    reviewedBy: Annotated[str, Meta(description="To whom it was assigned, as the call said.", examples=["agent-7"])]
    reviewStartedAt: Timestamp
    notes: Annotated[str, Meta(description="What the call added.", examples=["Asked for drafts"])] | UnsetType = UNSET


class DisputeResolved(_Dispute):
    """How a dispute was decided."""

    decision: Annotated[
        Literal["FULL_RELEASE", "FULL_REFUND", "SPLIT"], Meta(description="Who gets the money.", examples=["SPLIT"])
    ]
    resolvedBy: Credential
    resolvedAt: Timestamp
    buyerAmount: Annotated[Amount, Meta(description="The buyer's part, before fees.", examples=["30.00"])]
    sellerAmount: Annotated[Amount, Meta(description="The seller's part, before fees.", examples=["50.00"])]
    decisionNote: Annotated[str, Meta(description="Why, for people.", examples=["Half was done"])] | UnsetType = UNSET


class DisputeEscalated(_Dispute):
    """A dispute that was left open for too long."""

    openedAt: Timestamp
    deadline: Annotated[Timestamp, Meta(description="By when it was to be decided.")]
    action: Annotated[
        Literal["ESCALATE", "REFUND", "RELEASE"],
        Meta(description="What the policy does now: `ESCALATE` does nothing but tell.", examples=["ESCALATE"]),
    ]


KINDS: Final = (
    Kind("dispute.opened", "Dispute", DisputeOpened, "A dispute freezes an order.", "who opened it"),
    Kind("dispute.under_review", "Dispute", DisputeUnderReview, "Somebody looks at it.", "nobody"),
    Kind(
        "dispute.resolved",
        "Dispute",
        DisputeResolved,
        "It is decided, and the contract has paid accordingly; it stands after the order's end.",
        "nobody",
    ),
    Kind(
        "dispute.escalated",
        "Dispute",
        DisputeEscalated,
        "The deadline of the marketplace's policy has passed; it comes before what the policy then does.",
        "nobody",
    ),
)

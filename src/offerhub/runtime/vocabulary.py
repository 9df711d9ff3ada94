"""The types of values on the wire, with what the API's documentation says of them.

Answers use them as they are. In bodies and queries they only document: a constraint that is checked by a use case, so
that its refusal has a code of its own, is in `extra_json_schema`, which msgspec does not enforce.
"""

from typing import Annotated, Final

from msgspec import Meta

ALIAS: Final = {"deprecated": True}
"""`extra_json_schema` of a property that is only another name of a property of the same body."""

WHITE_SPACE: Final = r"\s\x1c-\x1f\x85\ufeff"
"""What is white space in the regular expressions of Python or of ECMAScript, for a class of characters: the document
and the edge must agree on it."""
SHOWN: Final = f"[^{WHITE_SPACE}]"
"""The pattern of text that is more than white space."""

_RANDOM: Final = "[0-9A-Za-z]{32}"


def _id(prefix: str, what: str) -> Meta:
    example = f"{prefix}_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"
    return Meta(description=what, examples=[example], extra_json_schema={"pattern": f"^{prefix}_{_RANDOM}$"})


UserId = Annotated[str, _id("usr", "The id of a user.")]
OrderId = Annotated[str, _id("ord", "The id of an order.")]
EscrowId = Annotated[str, _id("esc", "The id of an escrow.")]
DisputeId = Annotated[str, _id("dsp", "The id of a dispute.")]
TopUpId = Annotated[str, _id("topup", "The id of a top-up.")]
WithdrawalId = Annotated[str, _id("wd", "The id of a withdrawal.")]
ApiKeyId = Annotated[str, _id("key", "The id of an API key.")]
MarketplaceId = Annotated[str, _id("mkt", "The id of a marketplace.")]
MilestoneId = Annotated[str, _id("mst", "The id of a milestone.")]
WebhookEndpointId = Annotated[str, _id("whe", "The id of a webhook endpoint.")]
WebhookDeliveryId = Annotated[str, _id("whd", "The id of a delivery of an event to a webhook endpoint.")]
AuditId = Annotated[str, _id("aud", "The id of an audit entry.")]
EventId = Annotated[str, _id("evt", "The id of an event.")]

Amount = Annotated[
    str,
    Meta(
        description="An amount of money: digits, a point, two decimals.",
        examples=["25.00"],
        extra_json_schema={"pattern": r"^[0-9]{1,10}\.[0-9]{2}$"},
    ),
]
PositiveAmount = Annotated[
    str,
    Meta(
        description="An amount of money above zero: digits, a point, two decimals.",
        examples=["25.00"],
        extra_json_schema={"pattern": r"^[0-9]{1,10}\.[0-9]{2}$", "not": {"pattern": r"^[0.]+$"}},
    ),
]
Sum = Annotated[
    str,
    Meta(
        description="A sum of amounts of money, which may have more digits than any of them.",
        examples=["25.00"],
        extra_json_schema={"pattern": r"^[0-9]{1,13}\.[0-9]{2}$"},
    ),
]
"""What a bigint of units can hold has twelve digits before the point, and a total adds two of them."""
SignedSum = Annotated[
    str,
    Meta(
        description="A difference between two sums of money, negative when the first is smaller.",
        examples=["-0.50"],
        extra_json_schema={"pattern": r"^-?[0-9]{1,13}\.[0-9]{2}$"},
    ),
]
ChainAmount = Annotated[
    str,
    Meta(
        description="An amount with the seven decimals of Stellar.",
        examples=["25.0000000"],
        extra_json_schema={"pattern": r"^[0-9]{1,12}\.[0-9]{7}$"},
    ),
]
Currency = Annotated[
    str,
    Meta(
        description="`USD` or `USDC`; both mean one balance.",
        examples=["USD"],
        extra_json_schema={"enum": ["USD", "USDC"]},
    ),
]
Timestamp = Annotated[
    str,
    Meta(
        description="A time in UTC, with milliseconds (RFC 3339).",
        examples=["2026-11-22T10:15:30.123Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
StellarAddress = Annotated[
    str,
    Meta(
        description="A Stellar account, as a strkey.",
        examples=["GDIR3NAXT4GVWVMD4LNJ4XCZLAXHCYZGXRZJGBLT6NKQKEVKPLFPZZH5"],
        extra_json_schema={"pattern": "^G[A-Z2-7]{55}$"},
    ),
]
ContractId = Annotated[
    str,
    Meta(
        description="A contract on Stellar, as a strkey.",
        examples=["CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD2KM"],
        extra_json_schema={"pattern": "^C[A-Z2-7]{55}$"},
    ),
]
TransactionHash = Annotated[
    str,
    Meta(
        description="The hash of a Stellar transaction.",
        examples=["3389e9f0f1a65f19736cacf544c2e825313e8447f569233bb8db39aa607c8889"],
        extra_json_schema={"pattern": "^[0-9a-f]{64}$"},
    ),
]

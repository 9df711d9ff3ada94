"""What the treasury holds, what it has advanced, and what Airtm owes for it, on the wire."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from offerhub.kernel.money import format_chain_amount
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import PositiveAmount, StellarAddress, Timestamp, UserId

Holding = Annotated[
    str,
    Meta(
        description="An amount with the seven decimals of the chain; negative when more is owed than is there.",
        examples=["1500.0000000"],
        extra_json_schema={"pattern": r"^-?[0-9]{1,13}\.[0-9]{7}$"},
    ),
]
Unknown = Literal["unknown"]


@dataclass(frozen=True, slots=True)
class Books:
    """What the books say, in units: on the treasury's account, at Airtm, and what the operator has put in."""

    treasury: int
    airtm: int
    capital: int

    @property
    def advanced(self) -> int:
        """What the treasury has laid out for users whose money is still at Airtm."""
        return self.capital - self.treasury


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Units that may have moved and not be booked yet: through the treasury's account, into Airtm, out of it."""

    on_chain: int
    topups: int
    payouts: int


class TreasuryOnChainAnswer(Shape):
    """The treasury's account beside the books. `unknown` means that the chain could not be read."""

    address: StellarAddress
    status: Literal["PENDING", "READY"]
    inBooks: Holding
    onChain: Holding | Unknown
    difference: Annotated[Holding | Unknown, Meta(description="What the chain holds more than the books.")]


class TreasuryAtAirtmAnswer(Shape):
    """The operator's account at Airtm beside the books. `unknown` means that Airtm could not be asked."""

    inBooks: Annotated[Holding, Meta(description="What Airtm holds for users and for the treasury.")]
    available: Holding | Unknown
    pending: Holding | Unknown
    difference: Annotated[Holding | Unknown, Meta(description="What is there, with pending, more than the books.")]


class TreasuryAnswer(Shape):
    """Where the money is that stands behind users' balances, and how exposed the treasury is."""

    treasury: TreasuryOnChainAnswer
    airtm: TreasuryAtAirtmAnswer
    capital: Annotated[Holding, Meta(description="What the operator has put in and not taken out.")]
    advanced: Annotated[
        Holding, Meta(description="The exposure: laid out on the chain for users whose money is still at Airtm.")
    ]
    floor: Annotated[Holding, Meta(description="Below this the treasury counts as low.")]
    isLow: bool | Unknown


class CapitalTransferBody(Body):
    """Capital that goes to a user's balance, from where it is withdrawn like any other money."""

    userId: UserId
    amount: PositiveAmount
    reference: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description="Your name for this transfer; a name is used once.",
            examples=["capital-2026-11"],
        ),
    ]


class RebalancingBody(Body):
    """Capital that has moved into Airtm's account or out of it, as its statement shows."""

    direction: Annotated[
        Literal["INTO_AIRTM", "OUT_OF_AIRTM"],
        Meta(
            description="`OUT_OF_AIRTM`: withdrawn there, such as to the treasury's own address, whose arrival is "
            "booked by itself. `INTO_AIRTM`: paid in there."
        ),
    ]
    amount: PositiveAmount
    reference: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description="Airtm's id of the withdrawal or deposit; it is booked once.",
            examples=["7d9c4d0e-5b0e-4c56-9d5c-0a6c4b1f2e11"],
        ),
    ]


class CapitalMovementAnswer(Shape):
    """What was booked, and the capital after it."""

    reference: str
    kind: Literal["capital_transfer", "rebalancing"]
    amount: Annotated[Holding, Meta(description="What the capital has grown by; negative when it has become less.")]
    capital: Holding
    bookedAt: Timestamp


def movement(
    kind: Literal["capital_transfer", "rebalancing"], reference: str, amount: int, capital: int, at: str
) -> CapitalMovementAnswer:
    """The answer to a movement of capital; `amount` and `capital` are units."""
    return CapitalMovementAnswer(
        reference=reference,
        kind=kind,
        amount=format_chain_amount(amount),
        capital=format_chain_amount(capital),
        bookedAt=at,
    )

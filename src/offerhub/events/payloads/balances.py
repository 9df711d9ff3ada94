"""What the events of balances tell (contract 6.2)."""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from offerhub.events.catalogue import CreditSource, DebitDestination, ReleaseReason
from offerhub.events.payloads.base import Kind, Payload
from offerhub.runtime.vocabulary import Amount, Sum, TransactionHash, UserId

_BEFORE: Final = "`available` before it."
_AFTER: Final = "`available` after it."


class _Balance(Payload):
    userId: UserId
    currency: Annotated[Literal["USD"], Meta(description="Balances are in US dollars.", examples=["USD"])]
    previousAvailableBalance: Annotated[Sum, Meta(description=_BEFORE, examples=["75.00"])]
    newAvailableBalance: Annotated[Sum, Meta(description=_AFTER, examples=["100.00"])]


class BalanceCredited(_Balance):
    """Money that became available."""

    amount: Annotated[
        str,
        Meta(
            description="By how much, with two decimals; with Stellar's seven for a deposit from the chain.",
            examples=["25.00"],
            extra_json_schema={"pattern": r"^[0-9]{1,12}\.([0-9]{2}|[0-9]{7})$"},
        ),
    ]
    source: Annotated[
        CreditSource,
        Meta(
            description="Where it came from. `stellar_deposit_reconciled` is a deposit that was found later than "
            "usual, `release` and `refund` are the end of an order or of a reservation, `withdrawal_cancel` is a "
            "withdrawal that did not leave or came back, `other` is by the API or the treasury.",
            examples=["topup"],
        ),
    ]
    sourceId: Annotated[
        str | None,
        Meta(
            description="The top-up, the order, the withdrawal, the operation on the chain, or the reference that "
            "the API was given.",
            examples=["topup_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"],
        ),
    ]
    transactionHash: Annotated[TransactionHash, Meta(description="There for a deposit.")] | UnsetType = UNSET
    newBalance: (
        Annotated[Sum, Meta(description="For a deposit: the same as `newAvailableBalance`.", examples=["100.00"])]
        | UnsetType
    ) = UNSET


class BalanceDebited(_Balance):
    """Money that is available no more."""

    amount: Annotated[Amount, Meta(description="By how much.")]
    destination: Annotated[
        DebitDestination,
        Meta(description="Where it went; `other` is by the API.", examples=["withdrawal"]),
    ]
    destinationId: Annotated[
        str | None,
        Meta(
            description="Which one: the withdrawal, or the reference that the API was given.",
            examples=["wd_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"],
        ),
    ]


class BalanceReserved(_Balance):
    """Money that was set aside."""

    amount: Annotated[Amount, Meta(description="How much.")]
    orderId: Annotated[
        str,
        Meta(
            description="The order's id, or the reference that the API was given.",
            examples=["ord_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"],
        ),
    ]
    previousReservedBalance: Annotated[Sum, Meta(description="`reserved` for orders before it.", examples=["25.00"])]
    newReservedBalance: Annotated[Sum, Meta(description="`reserved` for orders after it.", examples=["0.00"])]


class BalanceReleased(BalanceReserved):
    """Money that is no longer set aside."""

    reason: Annotated[
        ReleaseReason,
        Meta(
            description="`cancel`: it is available again; `escrow_funded`: it is in the order's contract; `other`: "
            "it was taken or paid on by the API.",
            examples=["escrow_funded"],
        ),
    ]


KINDS: Final = (
    Kind("balance.credited", "Balance", BalanceCredited, "`available` went up.", "the user"),
    Kind("balance.debited", "Balance", BalanceDebited, "`available` went down.", "the user"),
    Kind("balance.reserved", "Balance", BalanceReserved, "Money moved from `available` to `reserved`.", "the user"),
    Kind(
        "balance.released",
        "Balance",
        BalanceReleased,
        "Money left `reserved`: back to `available`, or on to what it was set aside for.",
        "the user",
    ),
)

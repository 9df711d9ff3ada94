"""What the events of withdrawals tell (contract 6.2)."""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from offerhub.events.payloads.base import Kind, Payload
from offerhub.runtime.vocabulary import Amount, Currency, Sum, Timestamp, TransactionHash, UserId, WithdrawalId

_PayoutId = Annotated[str, Meta(description="Airtm's id of the payout.", examples=["9c1d52be-77a3-4c5f-8e21-3b6a"])]
_Reason = Annotated[str, Meta(description="Why, for people.", examples=["The recipient's account is closed"])]


class _Withdrawal(Payload):
    withdrawalId: WithdrawalId
    userId: UserId
    amount: Annotated[Amount, Meta(description="The withdrawal's amount.")]


class WithdrawalCreated(_Withdrawal):
    """A withdrawal as it was asked for."""

    currency: Currency
    destinationType: Annotated[
        Literal["crypto", "bank", "airtm_balance"],
        Meta(description="`crypto`: an account on Stellar; the others by Airtm.", examples=["crypto"]),
    ]
    destinationRef: Annotated[
        str,
        Meta(
            description="Where to: an address, or what Airtm knows the recipient by.",
            examples=["GDIR3NAXT4GVWVMD4LNJ4XCZLAXHCYZGXRZJGBLT6NKQKEVKPLFPZZH5"],
        ),
    ]


class WithdrawalCommitted(_Withdrawal):
    """A withdrawal that Airtm has been told of."""

    currency: Currency
    committedBalance: Annotated[Sum, Meta(description="All of the user's money that is on its way out.")]
    availableBalance: Annotated[Sum, Meta(description="The user's `available`.")]


class WithdrawalPending(_Withdrawal, kw_only=True):
    """A withdrawal that Airtm works on."""

    airtmPayoutId: _PayoutId | UnsetType = UNSET


class WithdrawalPendingUserAction(_Withdrawal):
    """A withdrawal that waits for its recipient."""

    actionRequired: Annotated[
        str, Meta(description="What is waited for, for people.", examples=["Airtm waits for the recipient to act."])
    ]


class WithdrawalCompleted(WithdrawalPending):
    """A withdrawal that was paid."""

    currency: Currency
    completedAt: Timestamp
    transactionHash: Annotated[TransactionHash, Meta(description="There for a payment on Stellar.")] | UnsetType = (
        UNSET
    )


class WithdrawalFailed(WithdrawalPending):
    """A withdrawal that did not leave."""

    reason: _Reason
    errorCode: (
        Annotated[str, Meta(description="For programs, where it is known.", examples=["op_no_trust"])] | UnsetType
    ) = UNSET


class WithdrawalCanceled(WithdrawalPending):
    """A withdrawal that somebody ended."""

    reason: _Reason
    canceledBy: Annotated[
        Literal["user", "system"],
        Meta(description="`user` when the API was asked to cancel it, `system` otherwise.", examples=["user"]),
    ]
    refundedToBalance: Annotated[Literal[True], Meta(description="The money is available again.", examples=[True])]
    newAvailableBalance: Annotated[Sum, Meta(description="The user's `available` after it.")]


class WithdrawalReversed(Payload):
    """What came back of a withdrawal that had been completed."""

    withdrawalId: WithdrawalId
    userId: UserId
    amount: Annotated[Amount, Meta(description="What came back, and was credited; the withdrawal's at most.")]
    currency: Currency
    reason: _Reason
    reversedAt: Timestamp
    newAvailableBalance: Annotated[Sum, Meta(description="The user's `available` after it.")]
    airtmPayoutId: _PayoutId | UnsetType = UNSET


_BACK: Final = "a `balance.credited` stands before it."

KINDS: Final = (
    Kind(
        "withdrawal.created",
        "Withdrawal",
        WithdrawalCreated,
        "A withdrawal is asked for, and its money taken aside; a `balance.debited` stands before it.",
        "the user",
    ),
    Kind("withdrawal.committed", "Withdrawal", WithdrawalCommitted, "Airtm is told to pay.", "the user"),
    Kind("withdrawal.pending", "Withdrawal", WithdrawalPending, "Airtm works on it.", "the user"),
    Kind(
        "withdrawal.pending_user_action",
        "Withdrawal",
        WithdrawalPendingUserAction,
        "Airtm waits for the recipient.",
        "the user",
    ),
    Kind("withdrawal.completed", "Withdrawal", WithdrawalCompleted, "The money has left.", "the user"),
    Kind(
        "withdrawal.failed",
        "Withdrawal",
        WithdrawalFailed,
        f"The money did not leave and is available again; {_BACK}",
        "the user",
    ),
    Kind(
        "withdrawal.canceled",
        "Withdrawal",
        WithdrawalCanceled,
        f"It was canceled before it left, and the money is available again; {_BACK}",
        "the user",
    ),
    Kind(
        "withdrawal.reversed",
        "Withdrawal",
        WithdrawalReversed,
        f"A payout that was complete came back from Airtm. The withdrawal stays `WITHDRAWAL_COMPLETED`; {_BACK}",
        "the user",
    ),
)

"""What the events of top-ups tell (contract 6.2)."""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from offerhub.events.payloads.base import Kind, Payload
from offerhub.runtime.vocabulary import Amount, Currency, Sum, TopUpId, UserId

_PayinId = Annotated[str, Meta(description="Airtm's id of the payment.", examples=["4f7ab1f0-3a0e-4b57-9a52-0f1c"])]
_CONFIRMATION: Final = "Where the user pays, at Airtm."


class TopUpCreated(Payload):
    """A top-up as it was asked for."""

    topupId: TopUpId
    userId: UserId
    amount: Annotated[Amount, Meta(description="What the user is to pay, Airtm's fee included.")]
    currency: Currency


class TopUpMoved(TopUpCreated, kw_only=True):
    """A top-up that has moved on."""

    airtmPayinId: _PayinId | UnsetType = UNSET


class TopUpConfirmationRequired(TopUpMoved):
    """A top-up that waits for the user."""

    confirmationUri: Annotated[
        str | None, Meta(description=_CONFIRMATION, examples=["https://app.airtm.com/checkout/4f7ab1f0"])
    ]


class TopUpSucceeded(TopUpMoved):
    """A top-up whose money has arrived."""

    netAmount: Annotated[Amount, Meta(description="What arrived, and was credited.", examples=["24.50"])]
    fee: Annotated[Amount, Meta(description="What Airtm kept: `amount` less `netAmount`.", examples=["0.50"])]
    newAvailableBalance: Annotated[Sum, Meta(description="The user's `available` after it.")]
    newBalance: Annotated[Sum, Meta(description="The same as `newAvailableBalance`.")]


class TopUpFailed(TopUpMoved):
    """A top-up that brought nothing."""

    reason: Annotated[str | None, Meta(description="Why, for people.", examples=["The payment was declined"])]
    errorCode: (
        Annotated[
            str,
            Meta(
                description="There when the payment could not be begun: one of our codes.",
                examples=["PROVIDER_ERROR"],
            ),
        ]
        | UnsetType
    ) = UNSET


class TopUpCanceled(TopUpMoved):
    """A top-up that somebody ended."""

    canceledBy: Annotated[
        Literal["user", "system"],
        Meta(description="`user` when the API was asked to cancel it, `system` otherwise.", examples=["user"]),
    ]


KINDS: Final = (
    Kind("topup.created", "TopUp", TopUpCreated, "A top-up is asked for.", "the user"),
    Kind(
        "topup.confirmation_required",
        "TopUp",
        TopUpConfirmationRequired,
        "Airtm waits for the user to pay at `confirmationUri`.",
        "the user",
    ),
    Kind("topup.processing", "TopUp", TopUpMoved, "The user has paid, and Airtm works on it.", "the user"),
    Kind(
        "topup.succeeded",
        "TopUp",
        TopUpSucceeded,
        "The money has arrived and is credited; a `balance.credited` stands before it.",
        "the user",
    ),
    Kind("topup.failed", "TopUp", TopUpFailed, "The payment has failed. Nothing was credited.", "the user"),
    Kind("topup.canceled", "TopUp", TopUpCanceled, "The payment was canceled. Nothing was credited.", "the user"),
)

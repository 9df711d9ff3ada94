"""What a top-up is, inside and on the wire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, cast, get_args

from msgspec import UNSET, Meta, UnsetType

from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import Units, format_amount
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import ALIAS, Amount, Currency, PositiveAmount, Timestamp, TopUpId, UserId
from offerhub.topups.states import TOPUP

TopUpStatus = Literal[
    "TOPUP_CREATED",
    "TOPUP_AWAITING_USER_CONFIRMATION",
    "TOPUP_PROCESSING",
    "TOPUP_SUCCEEDED",
    "TOPUP_FAILED",
    "TOPUP_CANCELED",
]


@dataclass(frozen=True, slots=True)
class TopUp:
    """A top-up as stored.

    `amount` is what the user pays; `net_amount` arrived and was credited, `fee` stayed with Airtm. `airtm_user_id` is
    the account that was linked when it began, the only one that may pay. `airtm_status` is Airtm's word as last seen.
    `fault` is why the payin is not believed to be this top-up's; a person decides.
    """

    id: str
    marketplace_id: str
    user_id: str
    airtm_user_id: str
    amount: Units
    net_amount: Units | None
    fee: Units | None
    currency: str
    description: str | None
    status: str
    airtm_payin_id: str | None
    airtm_status: str | None
    confirmation_uri: str | None
    failure_reason: str | None
    fault: str | None
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def is_settled(self) -> bool:
        """True when the top-up has ended, either way."""
        return self.status in TOPUP.terminal

    def wire(self) -> "TopUpAnswer":
        """The top-up object of contract 2.6; optional fields are left out when there is nothing to say."""
        return TopUpAnswer(
            id=self.id,
            userId=self.user_id,
            amount=format_amount(self.amount),
            currency=self.currency,
            status=cast("TopUpStatus", self.status),
            createdAt=to_wire(self.created_at),
            updatedAt=to_wire(self.updated_at),
            netAmount=UNSET if self.net_amount is None else format_amount(self.net_amount),
            fee=UNSET if self.fee is None else format_amount(self.fee),
            airtmPayinId=UNSET if self.airtm_payin_id is None else self.airtm_payin_id,
            confirmationUri=UNSET if self.confirmation_uri is None else self.confirmation_uri,
            failureReason=UNSET if self.failure_reason is None else self.failure_reason,
            description=UNSET if self.description is None else self.description,
            expiresAt=UNSET if self.expires_at is None else to_wire(self.expires_at),
        )


NetAmount = Annotated[Amount, Meta(description="What arrived and was credited; there once it has succeeded.")]
Fee = Annotated[Amount, Meta(description="What Airtm kept of it; there once it has succeeded.")]
ConfirmationUri = Annotated[
    str,
    Meta(
        description="Where the user pays, in a browser of their own (Airtm allows no frame).",
        examples=["https://app.airtm.com/payin/0b9f6c1e-7c3b-4a55-9d57-2f1c6a1e0001"],
    ),
]
ExpiresAt = Annotated[Timestamp, Meta(description="When Airtm gives an unconfirmed payment up, nearly.")]


class TopUpAnswer(Shape):
    """Money on its way in, or there."""

    id: TopUpId
    userId: UserId
    amount: Annotated[Amount, Meta(description="What the user pays.")]
    currency: Currency
    status: TopUpStatus
    createdAt: Timestamp
    updatedAt: Timestamp
    netAmount: NetAmount | UnsetType = UNSET
    fee: Fee | UnsetType = UNSET
    airtmPayinId: str | UnsetType = UNSET
    confirmationUri: ConfirmationUri | UnsetType = UNSET
    failureReason: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    expiresAt: ExpiresAt | UnsetType = UNSET


SDK_ONLY_STATUSES: Final = frozenset({"TOPUP_CANCELLED"})
"""Spellings of the SDK's type that no top-up ever has; they filter to nothing instead of failing (contract 1.7)."""
DESCRIPTION_CHARACTERS_MAX: Final = 250
"""What Airtm takes."""

_IGNORED: Final = "Accepted from older clients and ignored: a browser comes back to the addresses of the settings."


class CreateTopUp(Body, kw_only=True):
    """What a user pays in."""

    amount: Annotated[PositiveAmount, Meta(description="What the user pays; Airtm's fee is taken from it.")]
    currency: Currency | None = None
    description: Annotated[
        Annotated[str, Meta(max_length=DESCRIPTION_CHARACTERS_MAX)] | None,
        Meta(description="What the user reads at Airtm.", examples=["For your next order"]),
    ] = None
    userId: Annotated[UserId | None, Meta(description="Who pays; a key that is bound to a user knows it.")] = None
    user_id: Annotated[UserId | None, Meta(description="Another name of `userId`.", extra_json_schema=ALIAS)] = None
    return_url: Annotated[str | None, Meta(description=_IGNORED, extra_json_schema=ALIAS)] = None
    cancel_url: Annotated[str | None, Meta(description=_IGNORED, extra_json_schema=ALIAS)] = None
    metadata: Annotated[
        dict[str, Any] | None,
        Meta(description="Accepted from older clients and ignored.", extra_json_schema=ALIAS),
    ] = None


class ListTopUps(PageQuery, kw_only=True):
    """Filters of GET /topups."""

    userId: Annotated[UserId | None, Meta(description="Only those of this user.")] = None
    status: Annotated[
        str | None,
        Meta(
            description="Only those in this state. The last is an older client's word; no top-up has it.",
            examples=["TOPUP_SUCCEEDED"],
            extra_json_schema={"enum": [*get_args(TopUpStatus), *sorted(SDK_ONLY_STATUSES)]},
        ),
    ] = None

"""What a webhook is, and what a provider is answered."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from offerhub.runtime.routes import Shape

Provider = Literal["AIRTM", "TRUSTLESS_WORK"]

TRUSTLESS_WORK_TYPES: Final = frozenset(
    {
        "escrow.created",
        "escrow.funding_started",
        "escrow.funded",
        "escrow.milestone_completed",
        "escrow.released",
        "escrow.refunded",
        "escrow.disputed",
    }
)


class WebhookAnswer(Shape):
    """It has been taken in. Nothing has moved yet: what it tells is looked up at the provider first."""

    status: Literal["ok"]
    processed: Annotated[
        bool | UnsetType, Meta(description="Whether it will be looked into; false: it concerns nothing of ours.")
    ] = UNSET
    duplicate: Annotated[bool | UnsetType, Meta(description="There when it had been taken in before.")] = UNSET
    reason: Annotated[str | UnsetType, Meta(description="Why it will not be looked into.", examples=["unsigned"])] = (
        UNSET
    )


@dataclass(frozen=True, slots=True)
class News:
    """What a verified delivery says: `subject` is the id of ours that it names, or None."""

    provider: Provider
    event_id: str
    event_type: str
    subject: str | None
    payload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """A row of the inbox."""

    provider: Provider
    event_id: str
    event_type: str
    subject: str | None
    status: str

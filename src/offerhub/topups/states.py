"""The states of a top-up. What Airtm tells may skip some of them, and never leads back (contract 4.4)."""

from typing import Final

from offerhub.kernel.states import Told, machine

AWAITING: Final = "TOPUP_AWAITING_USER_CONFIRMATION"

TOPUP = machine(
    "topup",
    "topups.status",
    "TOPUP_CREATED",
    {
        "TOPUP_CREATED": {AWAITING, "TOPUP_PROCESSING", "TOPUP_SUCCEEDED", "TOPUP_FAILED", "TOPUP_CANCELED"},
        AWAITING: {"TOPUP_PROCESSING", "TOPUP_SUCCEEDED", "TOPUP_FAILED", "TOPUP_CANCELED"},
        "TOPUP_PROCESSING": {"TOPUP_SUCCEEDED", "TOPUP_FAILED", "TOPUP_CANCELED"},
        "TOPUP_SUCCEEDED": set(),
        "TOPUP_FAILED": set(),
        "TOPUP_CANCELED": set(),
    },
    {
        "TOPUP_CREATED": Told(
            "Recorded. Airtm has not clearly answered yet, so there is no `confirmationUri`.",
            "the service, for as long as Airtm gives no clear answer",
            ("topup.created",),
        ),
        AWAITING: Told(
            "The user is to pay at `confirmationUri`.",
            "the user, within 15 days, or `POST /topups/{id}/cancel`; read with `…/refresh`",
            ("topup.confirmation_required",),
        ),
        "TOPUP_PROCESSING": Told(
            "The user has paid, and Airtm is at work. Nothing is credited yet.",
            "Airtm; read with `POST /topups/{id}/refresh`",
            ("topup.processing",),
        ),
        "TOPUP_SUCCEEDED": Told("`netAmount` is in the user's `available`.", events=("topup.succeeded",)),
        "TOPUP_FAILED": Told(
            "Nothing was credited; `failureReason` says why where that is known.", events=("topup.failed",)
        ),
        "TOPUP_CANCELED": Told("Nobody paid: it was canceled, or Airtm has given it up.", events=("topup.canceled",)),
    },
)

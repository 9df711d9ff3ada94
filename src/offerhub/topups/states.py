"""The states of a top-up. What Airtm tells may skip some of them, and never leads back (contract 4.4)."""

from typing import Final

from offerhub.kernel.states import machine

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
)

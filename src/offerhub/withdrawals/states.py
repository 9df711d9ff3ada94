"""The states of a withdrawal. Airtm tells only where a payout has got to, so steps in between may be skipped."""

from typing import Final

from offerhub.kernel.states import machine

_ENDS: Final = {"WITHDRAWAL_COMPLETED", "WITHDRAWAL_FAILED", "WITHDRAWAL_CANCELED"}

WITHDRAWAL = machine(
    "withdrawal",
    "withdrawals.status",
    "WITHDRAWAL_CREATED",
    {
        "WITHDRAWAL_CREATED": {
            "WITHDRAWAL_COMMITTED",
            "WITHDRAWAL_PENDING",
            "WITHDRAWAL_PENDING_USER_ACTION",
            *_ENDS,
        },
        "WITHDRAWAL_COMMITTED": {"WITHDRAWAL_PENDING", "WITHDRAWAL_PENDING_USER_ACTION", *_ENDS},
        "WITHDRAWAL_PENDING": {"WITHDRAWAL_PENDING_USER_ACTION", *_ENDS},
        "WITHDRAWAL_PENDING_USER_ACTION": {"WITHDRAWAL_PENDING", *_ENDS},
        "WITHDRAWAL_COMPLETED": set(),
        "WITHDRAWAL_FAILED": set(),
        "WITHDRAWAL_CANCELED": set(),
    },
)

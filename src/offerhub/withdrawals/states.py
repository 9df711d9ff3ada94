"""The states of a withdrawal."""

from offerhub.kernel.states import machine

WITHDRAWAL = machine(
    "withdrawal",
    "withdrawals.status",
    "WITHDRAWAL_CREATED",
    {
        "WITHDRAWAL_CREATED": {"WITHDRAWAL_COMMITTED", "WITHDRAWAL_CANCELED"},
        "WITHDRAWAL_COMMITTED": {"WITHDRAWAL_PENDING", "WITHDRAWAL_FAILED"},
        "WITHDRAWAL_PENDING": {"WITHDRAWAL_PENDING_USER_ACTION", "WITHDRAWAL_COMPLETED", "WITHDRAWAL_FAILED"},
        "WITHDRAWAL_PENDING_USER_ACTION": {"WITHDRAWAL_PENDING", "WITHDRAWAL_FAILED"},
        "WITHDRAWAL_COMPLETED": set(),
        "WITHDRAWAL_FAILED": set(),
        "WITHDRAWAL_CANCELED": set(),
    },
)

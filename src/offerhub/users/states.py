"""The states of a user."""

from offerhub.kernel.states import machine

USER = machine(
    "user",
    "users.status",
    "ACTIVE",
    {
        "PENDING_VERIFICATION": {"ACTIVE", "SUSPENDED"},
        "ACTIVE": {"SUSPENDED"},
        "SUSPENDED": {"ACTIVE"},
    },
)

"""The states of a user."""

from offerhub.kernel.states import Told, machine

USER = machine(
    "user",
    "users.status",
    "ACTIVE",
    {
        "PENDING_VERIFICATION": {"ACTIVE", "SUSPENDED"},
        "ACTIVE": {"SUSPENDED"},
        "SUSPENDED": {"ACTIVE"},
    },
    {
        "PENDING_VERIFICATION": Told(
            "The user is known and may not move money. No call makes users like this; records that "
            "were taken over may be.",
            "the operator",
        ),
        "ACTIVE": Told("The user may move money. Every new user is.", "the operator", ("user.created",)),
        "SUSPENDED": Told(
            "The user starts nothing that moves money (`USER_NOT_ACTIVE`). What has begun is "
            "finished, and deposits are credited. No call suspends a user.",
            "the operator",
        ),
    },
)

"""The states of an escrow."""

from offerhub.kernel.states import machine

ESCROW = machine(
    "escrow",
    "escrows.status",
    "CREATING",
    {
        "CREATING": {"CREATED"},
        "CREATED": {"FUNDING"},
        "FUNDING": {"FUNDED", "CREATED"},
        "FUNDED": {"RELEASING", "REFUNDING", "DISPUTED"},
        "RELEASING": {"RELEASED", "FUNDED", "DISPUTED"},
        "REFUNDING": {"REFUNDED", "FUNDED", "DISPUTED"},
        "DISPUTED": {"RELEASING", "REFUNDING"},
        "RELEASED": set(),
        "REFUNDED": set(),
    },
)

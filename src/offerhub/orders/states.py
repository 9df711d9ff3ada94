"""The states of orders and milestones."""

from offerhub.kernel.states import machine

ORDER = machine(
    "order",
    "orders.status",
    "ORDER_CREATED",
    {
        "ORDER_CREATED": {"FUNDS_RESERVED", "CLOSED"},
        "FUNDS_RESERVED": {"ESCROW_CREATING", "CLOSED"},
        "ESCROW_CREATING": {"ESCROW_FUNDING", "FUNDS_RESERVED"},
        "ESCROW_FUNDING": {"ESCROW_FUNDED", "CLOSED"},
        "ESCROW_FUNDED": {"IN_PROGRESS"},
        "IN_PROGRESS": {"RELEASE_REQUESTED", "REFUND_REQUESTED", "DISPUTED"},
        "RELEASE_REQUESTED": {"RELEASED", "IN_PROGRESS", "DISPUTED"},
        "REFUND_REQUESTED": {"REFUNDED", "IN_PROGRESS", "DISPUTED"},
        "DISPUTED": {"RELEASE_REQUESTED", "REFUND_REQUESTED"},
        "RELEASED": {"CLOSED"},
        "REFUNDED": {"CLOSED"},
        "CLOSED": set(),
    },
)
MILESTONE = machine("milestone", "milestones.status", "OPEN", {"OPEN": {"COMPLETED"}, "COMPLETED": set()})

CANCELLABLE = ("ORDER_CREATED", "FUNDS_RESERVED", "ESCROW_FUNDING")
"""In ESCROW_FUNDING only while nothing is on its way into the contract: a reservation must have a way out."""

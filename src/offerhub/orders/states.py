"""The states of orders and milestones."""

from offerhub.kernel.states import Told, machine

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
        "IN_PROGRESS": {"RELEASE_REQUESTED", "REFUND_REQUESTED", "DISPUTED", "RELEASED", "REFUNDED"},
        "RELEASE_REQUESTED": {"RELEASED", "IN_PROGRESS", "DISPUTED"},
        "REFUND_REQUESTED": {"REFUNDED", "RELEASED", "IN_PROGRESS", "DISPUTED"},
        "DISPUTED": {"RELEASE_REQUESTED", "REFUND_REQUESTED"},
        "RELEASED": {"CLOSED"},
        "REFUNDED": {"CLOSED"},
        "CLOSED": set(),
    },
    {
        "ORDER_CREATED": Told(
            "Agreed; no money has moved.", "`POST /orders/{id}/reserve`, or `…/cancel`", ("order.created",)
        ),
        "FUNDS_RESERVED": Told(
            "The buyer's money is set aside.",
            "`POST /orders/{id}/escrow`, or `…/cancel`, which gives it back",
            ("order.funds_reserved",),
        ),
        "ESCROW_CREATING": Told(
            "The contract is being deployed.", "the service; back to `FUNDS_RESERVED` if the chain refuses"
        ),
        "ESCROW_FUNDING": Told(
            "The contract is deployed. While the escrow is `CREATED` it waits to be funded, while it "
            "is `FUNDING` the money is on its way.",
            "`POST /orders/{id}/escrow/fund` and then the service; or `…/cancel` while the escrow is `CREATED`",
            ("order.escrow_creating", "order.escrow_funding"),
        ),
        "ESCROW_FUNDED": Told(
            "The contract holds the money. It is passed through at once; an answer never shows it.",
            "the service",
            ("order.escrow_funded",),
        ),
        "IN_PROGRESS": Told(
            "The money is safe in the contract, and the work goes on. A multi-release order stays like this while "
            "its milestones are paid one by one.",
            "`POST /orders/{id}/resolution/release`, `…/refund` or `…/dispute`; of a multi-release order also the "
            "last of `POST /orders/{id}/milestones/{ref}/release` and `…/refund`",
            ("order.in_progress",),
        ),
        "RELEASE_REQUESTED": Told(
            "The contract is paying the seller, or both parties after a split; of a multi-release order, what its "
            "milestones have not paid yet.",
            "the service; back to `IN_PROGRESS` or `DISPUTED` if the contract refuses",
            ("order.release_requested",),
        ),
        "REFUND_REQUESTED": Told(
            "The contract is paying the buyer back.",
            "the service; back to `IN_PROGRESS` or `DISPUTED` if the contract refuses",
            ("order.refund_requested",),
        ),
        "DISPUTED": Told(
            "Frozen until the dispute is resolved.", "`POST /disputes/{id}/resolve`", ("order.disputed",)
        ),
        "RELEASED": Told(
            "Paid out. It is passed through at once; an answer never shows it.", "the service", ("order.released",)
        ),
        "REFUNDED": Told(
            "Paid back. It is passed through at once; an answer never shows it.", "the service", ("order.refunded",)
        ),
        "CLOSED": Told(
            "The end. `finalStatus` says how: `RELEASED` (after a split, too, and once the seller was paid any "
            "milestone), `REFUNDED` or `CANCELED`.",
            events=("order.closed", "order.canceled"),
        ),
    },
)
MILESTONE = machine(
    "milestone",
    "milestones.status",
    "OPEN",
    {"OPEN": {"COMPLETED"}, "COMPLETED": set()},
    {
        "OPEN": Told(
            "This part of the work is not done. Its order cannot be released; it can be refunded and disputed. In a "
            "multi-release order this is so of the milestone.",
            "`POST /orders/{id}/milestones/{ref}/complete`, while the order is `IN_PROGRESS`",
        ),
        "COMPLETED": Told(
            "This part is done. It is paid when the order is released, not before; in a multi-release order also by "
            "itself, and `payout` tells how far that is.",
            events=("escrow.milestone_completed",),
        ),
    },
)

CANCELLABLE = ("ORDER_CREATED", "FUNDS_RESERVED", "ESCROW_FUNDING")
"""In ESCROW_FUNDING only while nothing is on its way into the contract: a reservation must have a way out."""

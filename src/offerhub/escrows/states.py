"""The states of an escrow."""

from offerhub.kernel.states import Told, machine

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
    {
        "CREATING": Told(
            "The contract is being deployed; it has no address yet.",
            "the service; if the chain refuses, there is no escrow any more",
        ),
        "CREATED": Told("The contract is there and empty.", "`POST /orders/{id}/escrow/fund`", ("escrow.created",)),
        "FUNDING": Told(
            "The buyer's money is on its way into the contract.",
            "the service; back to `CREATED` if the chain refuses",
            ("escrow.funding_started",),
        ),
        "FUNDED": Told(
            "The contract holds the order's amount.",
            "`POST /orders/{id}/resolution/release`, `…/refund` or `…/dispute`",
            ("escrow.funded",),
        ),
        "RELEASING": Told(
            "The contract is paying the seller, or both parties after a split.",
            "the service; back to where it was if the contract refuses",
        ),
        "REFUNDING": Told(
            "The contract is paying the buyer back.", "the service; back to where it was if the contract refuses"
        ),
        "DISPUTED": Told(
            "The money stays in the contract until the dispute is resolved.",
            "`POST /disputes/{id}/resolve`",
            ("order.disputed",),
        ),
        "RELEASED": Told(
            "The contract is empty: it has paid out to the seller, or to both.", events=("escrow.released",)
        ),
        "REFUNDED": Told("The contract is empty: it has paid the buyer back.", events=("escrow.refunded",)),
    },
)

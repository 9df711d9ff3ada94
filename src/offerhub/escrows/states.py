"""The states of an escrow, and of the money of each milestone in a multi-release one."""

from typing import Final

from offerhub.kernel.states import Told, machine

ESCROW = machine(
    "escrow",
    "escrows.status",
    "CREATING",
    {
        "CREATING": {"CREATED"},
        "CREATED": {"FUNDING"},
        "FUNDING": {"FUNDED", "CREATED"},
        "FUNDED": {"RELEASING", "REFUNDING", "DISPUTED", "RELEASED", "REFUNDED"},
        "RELEASING": {"RELEASED", "FUNDED", "DISPUTED"},
        "REFUNDING": {"REFUNDED", "RELEASED", "FUNDED", "DISPUTED"},
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
            "The contract holds the order's amount; a multi-release one, what its milestones have not paid yet.",
            "`POST /orders/{id}/resolution/release`, `…/refund` or `…/dispute`; the last of "
            "`POST /orders/{id}/milestones/{ref}/release` and `…/refund`",
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
            "The contract is empty: it has paid out to the seller, or to both parties.", events=("escrow.released",)
        ),
        "REFUNDED": Told("The contract is empty: it has paid the buyer back.", events=("escrow.refunded",)),
    },
)

ENDED: Final = ("RELEASED", "REFUNDED", "SPLIT")
"""How the money of a milestone may have ended."""
MILESTONE_PAYOUT = machine(
    "milestone payout",
    "escrow_milestones.status",
    "UNPAID",
    {
        "UNPAID": {"PAYING"},
        "PAYING": {"UNPAID", *ENDED},
        "RELEASED": set(),
        "REFUNDED": set(),
        "SPLIT": set(),
    },
    {
        "UNPAID": Told(
            "Its money is in the contract, as soon as that is funded.",
            "`POST /orders/{id}/milestones/{ref}/release` or `…/refund`; the order's own release, refund and "
            "dispute, which take every milestone that is unpaid",
        ),
        "PAYING": Told(
            "The contract is paying it out.",
            "the service; back to `UNPAID` if the contract refuses",
            ("escrow.milestone_release_requested", "escrow.milestone_refund_requested"),
        ),
        "RELEASED": Told("Paid to the seller.", events=("escrow.milestone_released",)),
        "REFUNDED": Told("Paid back to the buyer.", events=("escrow.milestone_refunded",)),
        "SPLIT": Told(
            "Shared out between both after a dispute; each event tells one part.",
            events=("escrow.milestone_released", "escrow.milestone_refunded"),
        ),
    },
)

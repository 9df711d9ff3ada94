"""The states of a dispute."""

from offerhub.kernel.states import Told, machine

DISPUTE = machine(
    "dispute",
    "disputes.status",
    "OPEN",
    {"OPEN": {"UNDER_REVIEW"}, "UNDER_REVIEW": {"RESOLVED"}, "RESOLVED": set()},
    {
        "OPEN": Told(
            "The order is frozen, and nobody looks after the dispute yet.",
            "`POST /disputes/{id}/assign`",
            ("dispute.opened",),
        ),
        "UNDER_REVIEW": Told(
            "Somebody is named in `assignedTo`. It stays like this while a decision is paid out, and "
            "if the contract refuses it.",
            "`POST /disputes/{id}/resolve`, once the contract has paid",
            ("dispute.under_review",),
        ),
        "RESOLVED": Told("Decided and paid out; `resolutionDecision` says how.", events=("dispute.resolved",)),
    },
)

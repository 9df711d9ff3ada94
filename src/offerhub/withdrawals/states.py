"""The states of a withdrawal. Airtm tells only where a payout has got to, so steps in between may be skipped."""

from typing import Final

from offerhub.kernel.states import Told, machine

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
    {
        "WITHDRAWAL_CREATED": Told(
            "Airtm only: set aside and prepared, waiting to be committed. Without an `airtmPayoutId` "
            "Airtm has not told of its payout yet.",
            "`POST /withdrawals/{id}/commit`, or `…/cancel`",
            ("withdrawal.created",),
        ),
        "WITHDRAWAL_COMMITTED": Told(
            "Airtm only: Airtm has been told to pay. It is mostly passed through at once.",
            "Airtm; read with `POST /withdrawals/{id}/refresh`",
            ("withdrawal.committed",),
        ),
        "WITHDRAWAL_PENDING": Told(
            "On its way. A withdrawal to a Stellar address begins here.",
            "the service (Stellar); Airtm, read with `POST /withdrawals/{id}/refresh`",
            ("withdrawal.created", "withdrawal.pending"),
        ),
        "WITHDRAWAL_PENDING_USER_ACTION": Told(
            "Airtm only: the recipient has to do something at Airtm.",
            "the recipient, within the time that Airtm gives; read with `POST /withdrawals/{id}/refresh`",
            ("withdrawal.pending_user_action",),
        ),
        "WITHDRAWAL_COMPLETED": Told(
            "Paid. `transactionHash` is there for a payment on Stellar. A payout that Airtm gave back after all "
            "stays in this state, with a `reversal`: that much is back in `available`.",
            events=("withdrawal.completed", "withdrawal.reversed"),
        ),
        "WITHDRAWAL_FAILED": Told(
            "It was not paid: the money is back in `available`, and `failureReason` says why.",
            events=("withdrawal.failed",),
        ),
        "WITHDRAWAL_CANCELED": Told(
            "It was cancelled: the money is back in `available`.", events=("withdrawal.canceled",)
        ),
    },
)

REFUND = machine(
    "airtm refund",
    "airtm_refunds.status",
    "OPEN",
    {"OPEN": {"REVERSED", "RETURNED", "UNEXPLAINED"}, "REVERSED": set(), "RETURNED": set(), "UNEXPLAINED": set()},
)
"""A payout's money that came back: booked to its user, given back by the withdrawal's own end, or for a person."""

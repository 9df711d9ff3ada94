"""How long each state may last before somebody should know: one table, for everything that holds money or news.

A state that is not here waits for nobody, or is told by another one: an order whose escrow is on its way by the
escrow, an order in dispute by its dispute.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Waits = Literal["SYSTEM", "PROVIDER", "USER", "MARKETPLACE", "OPERATOR"]
"""Who has to act: the service itself, Airtm, the person who pays, the marketplace's program or its support, you."""

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


class Budget(NamedTuple):
    """How long a state may last, who is to end it, and how, in words."""

    seconds: float
    waits_for: Waits
    cause: str
    next_step: str


_SAGA: Final = "The saga tries again by itself, until the provider or the chain has told what happened."


def _under_way(what: str, seconds: float = 15 * MINUTE) -> Budget:
    return Budget(seconds, "SYSTEM", what, _SAGA)


ORDER: Final[Mapping[str, Budget]] = {
    "FUNDS_RESERVED": Budget(
        7 * DAY,
        "MARKETPLACE",
        "The buyer's money is reserved, and no escrow was asked for.",
        "None, unless the policy `autoCancelUnfundedAfterHours` is on. The marketplace opens the escrow or cancels.",
    ),
    "IN_PROGRESS": Budget(
        60 * DAY,
        "MARKETPLACE",
        "The money is in escrow, and neither a release, a refund nor a dispute was asked for.",
        "None, unless the policy `autoReleaseAfterDays` is on. The marketplace releases, refunds or opens a dispute.",
    ),
}
ESCROW: Final[Mapping[str, Budget]] = {
    "CREATING": _under_way("The contract is being deployed."),
    "CREATED": Budget(
        DAY,
        "MARKETPLACE",
        "The contract is there, and was not funded: the buyer's money is still reserved.",
        "None, unless the policy `autoCancelUnfundedAfterHours` is on. The marketplace funds the escrow or cancels.",
    ),
    "FUNDING": _under_way("The contract is being funded."),
    "RELEASING": _under_way("The contract is paying the seller, or both as was decided."),
    "REFUNDING": _under_way("The contract is paying the buyer back."),
}
DISPUTE: Final[Mapping[str, Budget]] = {
    "OPEN": Budget(
        3 * DAY, "MARKETPLACE", "Nobody looks after the dispute.", "None. The marketplace's support assigns it."
    ),
    "UNDER_REVIEW": Budget(
        14 * DAY, "MARKETPLACE", "The dispute is not decided.", "None. The marketplace's support resolves it."
    ),
}
TOPUP: Final[Mapping[str, Budget]] = {
    "TOPUP_CREATED": _under_way("The payin is being made at Airtm."),
    "TOPUP_AWAITING_USER_CONFIRMATION": Budget(
        DAY,
        "USER",
        "The user has not paid at Airtm.",
        "Airtm is asked again; the policy `topupExpiryHours`, where it is on, cancels it.",
    ),
    "TOPUP_PROCESSING": Budget(
        DAY, "PROVIDER", "Airtm has not told that the payin is done.", "Airtm is asked again every few minutes."
    ),
}
ON_CHAIN: Final[Mapping[str, Budget]] = {
    "WITHDRAWAL_CREATED": _under_way("The payment is being made."),
    "WITHDRAWAL_COMMITTED": _under_way("The payment is being made."),
    "WITHDRAWAL_PENDING": _under_way("The payment was sent, and no ledger shows it yet."),
}
AT_AIRTM: Final[Mapping[str, Budget]] = {
    "WITHDRAWAL_CREATED": Budget(
        DAY,
        "MARKETPLACE",
        "The payout is made at Airtm, and was not committed.",
        "None. The marketplace commits or cancels it.",
    ),
    "WITHDRAWAL_COMMITTED": _under_way("The payout is being committed at Airtm."),
    "WITHDRAWAL_PENDING": Budget(
        3 * DAY, "PROVIDER", "Airtm has not told that the payout is done.", "Airtm is asked again every few minutes."
    ),
    "WITHDRAWAL_PENDING_USER_ACTION": Budget(
        3 * DAY,
        "USER",
        "Airtm waits for the user to do something about the payout.",
        "Airtm is asked again every few minutes.",
    ),
}
SAGA: Final[Mapping[str, Budget]] = {"RUNNING": _under_way("What was begun outside is not finished.")}
WEBHOOK: Final[Mapping[str, Budget]] = {
    "RECEIVED": Budget(
        10 * MINUTE, "SYSTEM", "The message was kept and not worked on.", "A worker takes it from the queue."
    ),
    "FAILED": Budget(
        10 * MINUTE,
        "OPERATOR",
        "The message could not be worked on.",
        "None for the message; what it tells of is asked about every few minutes all the same.",
    ),
}
JOB: Final[Mapping[str, Budget]] = {
    "WAITING": Budget(
        15 * MINUTE,
        "OPERATOR",
        "The job has not run: no worker takes it, or it is being tried again.",
        "It is handed over again when the queue has lost it. Is a `serve` or `worker` running?",
    ),
    "DEAD": Budget(
        MINUTE,
        "OPERATOR",
        "The job failed at every attempt and is a dead letter.",
        "None: it waits until you retry it or give it up (`GET /admin/dlq`).",
    ),
}

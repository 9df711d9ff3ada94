"""The names of all events (contract 6.2), and the patterns that choose among them."""

from collections.abc import Iterable
from typing import Final

from offerhub.errors import invalid_field

NAMES: Final = (
    "topup.created",
    "topup.confirmation_required",
    "topup.processing",
    "topup.succeeded",
    "topup.failed",
    "topup.canceled",
    "order.created",
    "order.funds_reserved",
    "order.escrow_creating",
    "order.escrow_funding",
    "order.escrow_funded",
    "order.in_progress",
    "order.release_requested",
    "order.refund_requested",
    "order.released",
    "order.refunded",
    "order.disputed",
    "order.closed",
    "order.canceled",
    "withdrawal.created",
    "withdrawal.committed",
    "withdrawal.pending",
    "withdrawal.pending_user_action",
    "withdrawal.completed",
    "withdrawal.failed",
    "withdrawal.canceled",
    "dispute.opened",
    "dispute.under_review",
    "dispute.resolved",
    "dispute.escalated",
    "balance.credited",
    "balance.debited",
    "balance.reserved",
    "balance.released",
    "user.created",
    "user.airtm_linked",
    "user.stellar_linked",
    "escrow.created",
    "escrow.funding_started",
    "escrow.funded",
    "escrow.released",
    "escrow.refunded",
    "escrow.milestone_completed",
    "escrow.milestone_release_requested",
    "escrow.milestone_refund_requested",
    "escrow.milestone_released",
    "escrow.milestone_refunded",
    "wallet.created",
    "api_key.created",
    "api_key.revoked",
    "webhook.test",
    "webhook.endpoint.failing",
    "webhook.endpoint.disabled",
)


def chosen_by(pattern: str) -> set[str]:
    """The names that one pattern chooses; none for a pattern that is none."""
    head, star, tail = pattern.partition("*")
    if not star:
        return {pattern} & set(NAMES)
    long = len(head) + len(tail)
    return {name for name in NAMES if name.startswith(head) and name.endswith(tail) and len(name) >= long}


def matching(patterns: Iterable[str], field: str = "types") -> frozenset[str]:
    """The names that a list of patterns chooses: `order.created`, `order.*`, `*.failed`, `*`.

    Raises ValidationFailed, naming `field`, for a pattern that chooses none: a misspelling is not taken for silence.

    >>> sorted(matching(["dispute.*", "order.closed"]))
    ['dispute.opened', 'dispute.resolved', 'dispute.under_review', 'order.closed']
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = chosen_by(pattern)
        if not found:
            raise invalid_field(field, f"{field}: no event is called {pattern[:60]!r}")
        chosen |= found
    return frozenset(chosen)

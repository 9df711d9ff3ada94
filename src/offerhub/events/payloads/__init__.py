"""Every event that there is, with what it tells: the catalogue of contract 6.2, and what we have added to it.

A payload is written where the change is made; tests hold everything that the product writes to these types.
"""

from typing import Final

from offerhub.events.payloads import balances, disputes, escrows, installation, orders, topups, users, withdrawals
from offerhub.events.payloads.base import Kind, Payload

__all__ = ["KINDS", "Kind", "Payload"]

KINDS: Final[tuple[Kind, ...]] = (
    *topups.KINDS,
    *orders.KINDS,
    *withdrawals.KINDS,
    *disputes.KINDS,
    *balances.KINDS,
    *users.KINDS,
    *escrows.KINDS,
    *installation.KINDS,
)

"""What other slices may do with escrows: read one, make one, move one along its states."""

from offerhub.escrows.milestone_store import (
    begin_paying,
    insert_milestones,
    learn_milestones,
    milestones_of,
    paid,
    stop_paying,
)
from offerhub.escrows.store import deployed, discard, insert, learn, move, of_order, of_orders

__all__ = [
    "begin_paying",
    "deployed",
    "discard",
    "insert",
    "insert_milestones",
    "learn",
    "learn_milestones",
    "milestones_of",
    "move",
    "of_order",
    "of_orders",
    "paid",
    "stop_paying",
]

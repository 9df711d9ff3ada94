"""What other slices may do with escrows: read one, make one, move one along its states."""

from offerhub.escrows.store import deployed, discard, insert, learn, move, of_order, of_orders

__all__ = ["deployed", "discard", "insert", "learn", "move", "of_order", "of_orders"]

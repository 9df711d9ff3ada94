"""Disputes: freezing an order, and deciding who gets its money."""

"""Balances: what a user may spend, and the low-level operations on it."""

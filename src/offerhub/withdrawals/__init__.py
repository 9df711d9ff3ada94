"""Withdrawals: a user's money leaving for the outside world."""

"""Escrows: an order's contract on the chain, and the transactions that move it."""

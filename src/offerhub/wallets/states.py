"""The states of a wallet."""

from offerhub.kernel.states import machine

WALLET = machine("wallet", "wallets.status", "PENDING", {"PENDING": {"READY"}, "READY": set()})

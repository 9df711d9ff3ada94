"""Trustless Work v1, single-release escrows: what we ask for, the client, the check before a signature."""

"""Trustless Work v1: what we ask for, the client, the check before a signature."""

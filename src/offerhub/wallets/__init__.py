"""Wallets: the custodial Stellar account of each user, and what arrives there."""

"""Stellar: keys, networks, Horizon, and the transactions we build, sign and check.

`network`, `keys` and `horizon` are light. `transactions`, `envelope` and `results` load stellar-sdk, which
takes more than a second: import them where they are used, never from what is imported at start-up.
"""

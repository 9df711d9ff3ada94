"""Stellar, Trustless Work and Airtm as one local server: the same wire, real XDR, a clock and faults on demand.

It parses, verifies and applies the envelopes that a real network would (providers.md 8), refuses what that
would refuse, and keeps its books in integers. Nothing in it is a mock of our own code: the product's HTTP
clients, signers and watchers run against it unchanged. `offerhub.sandbox.server` has the way in.
"""

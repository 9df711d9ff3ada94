"""Clients of the outside: Trustless Work and Stellar. They know no slice and keep no state of ours."""

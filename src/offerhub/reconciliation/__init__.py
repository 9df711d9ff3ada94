"""Reconciliation: what the books say beside what Airtm, Trustless Work and the chain say."""

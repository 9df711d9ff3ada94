"""Airtm: payins and payouts between our Airtm account and those of users (providers.md 2)."""

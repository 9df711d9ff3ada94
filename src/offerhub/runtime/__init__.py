"""Mechanisms without business words: database, queue, vault, HTTP client, leases, embedded services."""

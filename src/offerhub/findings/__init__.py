"""Findings: what differs, since when, by how much, what shows it, and what is to be done."""

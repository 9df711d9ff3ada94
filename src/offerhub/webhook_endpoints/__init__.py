"""Webhooks out: the events of a marketplace, sent to where it wants them, in order, until they arrive."""

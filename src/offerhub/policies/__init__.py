"""Policies: what a marketplace lets happen by itself once a time is over."""

"""Top-ups: money that users bring in through Airtm."""

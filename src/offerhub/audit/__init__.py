"""Reading the audit trail; it is written by `events.journal`, with its cause."""

"""Pure vocabulary, no I/O: money, ids, clock, states, pages."""

"""Everything that reaches outside: recorded before it is tried, safe to repeat, settled by evidence."""

"""Plain SQL migrations, one folder each: up.sql, and before.sql and after.sql whose rows are violations."""

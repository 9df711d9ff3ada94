"""The books: double entry in whole units, append-only, posted by one SQL function."""

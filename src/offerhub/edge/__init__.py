"""HTTP: who calls, what may be called, what was said, and how it is answered. The only part that knows HTTP."""

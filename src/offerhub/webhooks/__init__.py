"""What providers tell us: verified, kept once, and looked into before anything moves."""

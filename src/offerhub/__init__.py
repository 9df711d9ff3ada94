"""OFFER-HUB Orchestrator: balances, escrow and payouts for marketplaces, with provable books."""

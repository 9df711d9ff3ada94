"""Orders: from the reservation of the buyer's money to its payout."""

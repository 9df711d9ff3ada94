"""What happened: written in the transaction that made it happen, read in one order by everybody."""

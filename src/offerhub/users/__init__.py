"""Users: the buyers and sellers of a marketplace."""
